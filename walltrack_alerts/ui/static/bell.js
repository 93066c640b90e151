// The bell, and the settings of sound and notifications behind it.

import { add, draw, label, make, setText } from './dom.js';
import { notify, permission } from './notifications.js';
import { storage } from './storage.js';

const KEYS = { sound: 'walltrack-alerts.sound', notification: 'walltrack-alerts.notification' };
const PERMISSIONS = {
  granted: '',
  default: 'Your browser will ask for permission.',
  denied: 'Your browser blocks notifications from this page. Allow them in the site settings, next to the address, and reload.',
  missing: 'This browser allows notifications only on https:// pages and on this machine.',
};

/** What the operator wants in this browser. */
export const wants = {
  sound: () => storage.get(KEYS.sound) === 'on',
  notification: () => storage.get(KEYS.notification) === 'on' && permission() === 'granted',
};

/**
 * @param {import('./types.js').Panel} panel
 * @param {ReturnType<typeof import('./sound.js').createSound>} sound
 */
export function createBell({ frame, id, makeButton, on, props }, sound) {
  const bell = label(
    makeButton('wta-icon wta-bell', undefined, () => openBox(Boolean(box.hidden)), 'bell'),
    'Sound and notifications',
  );
  add(bell, newBellIcon());
  bell.setAttribute('aria-haspopup', 'dialog');
  const soundChoice = newChoice('sound', 'Sound');
  const notificationChoice = newChoice('notification', 'Browser notification');
  const result = make('small', { className: 'wta-bell-result', role: 'status' });
  const box = make(
    'div',
    { className: 'wta-bell-box', ariaLabel: 'Sound and notifications', id: id('bell-box'), role: 'dialog', hidden: true },
    make('b', '', 'For new critical alerts'),
    soundChoice.line,
    soundChoice.note,
    notificationChoice.line,
    notificationChoice.note,
    make('div', 'wta-bell-foot', makeButton('wta-button', 'Test', test, 'bell-test'), result),
  );
  frame.tools.prepend(make('div', 'wta-bell-place', bell, box));

  /**
   * @param {string} name
   * @param {string} text
   */
  function newChoice(name, text) {
    const input = make('input', { className: 'wta-tick-box', type: 'checkbox', id: id(`bell-${name}`) });
    const note = make('small', { className: 'wta-muted', id: id(`bell-${name}-note`) });
    input.setAttribute('aria-describedby', note.id);
    return { input, note, line: make('label', { htmlFor: input.id }, input, text) };
  }

  function test() {
    const [hasSound, hasNotification] = [wants.sound(), wants.notification()];
    if (hasSound) sound.play();
    if (hasNotification) notify('Test', 'This is how a new critical alert notifies you.', `${props.panel_id}-test`);
    const sent = [hasSound && 'a sound', hasNotification && 'a notification'].filter(Boolean).join(' and ');
    setText(result, sent ? `Sent: ${sent}.` : 'Enable sound or notifications first.');
  }

  function showBell() {
    const allowed = permission();
    soundChoice.input.checked = wants.sound();
    notificationChoice.input.checked = wants.notification();
    notificationChoice.input.disabled = allowed === 'missing' || allowed === 'denied';
    setText(notificationChoice.note, PERMISSIONS[allowed]);
    if (wants.sound()) sound.open();
    const isAsleep = wants.sound() && sound.isAsleep();
    setText(soundChoice.note, isAsleep ? 'Your browser allows sound once you have clicked in this page.' : '');
    for (const { note } of [soundChoice, notificationChoice]) note.hidden = !note.textContent;
    const isOn = wants.sound() || wants.notification();
    bell.dataset.alarm = isAsleep ? 'asleep' : isOn ? 'on' : 'off';
    bell.title = isAsleep
      ? 'Click anywhere in this page to enable the sound'
      : isOn
        ? 'New critical alerts notify you'
        : 'Silent';
  }

  /** @param {boolean} open */
  function openBox(open) {
    box.hidden = !open;
    bell.setAttribute('aria-expanded', String(open));
    setText(result, '');
    showBell();
    if (open) soundChoice.input.focus();
  }

  soundChoice.input.addEventListener('change', async () => {
    storage.set(KEYS.sound, soundChoice.input.checked ? 'on' : 'off');
    if (soundChoice.input.checked) await sound.open()?.resume();
    showBell();
  });
  notificationChoice.input.addEventListener('change', async () => {
    storage.set(KEYS.notification, notificationChoice.input.checked ? 'on' : 'off');
    if (notificationChoice.input.checked && permission() === 'default') await Notification.requestPermission();
    showBell();
  });
  box.addEventListener('keydown', (event) => {
    event.stopPropagation(); // the keys of the list mean something else here
    if (event.key !== 'Escape') return;
    openBox(false);
    bell.focus();
  });
  /** @param {PointerEvent} event */
  const closeOnPointerBeside = ({ target }) => {
    if (!box.hidden && !box.parentElement?.contains(/** @type {Node} */ (target))) openBox(false);
  };
  const wakeSound = () => {
    if (wants.sound() && sound.isAsleep()) sound.resume().then(showBell);
  };
  document.addEventListener('pointerdown', closeOnPointerBeside);
  for (const kind of ['click', 'keydown']) document.addEventListener(kind, wakeSound);
  on('closed', () => {
    document.removeEventListener('pointerdown', closeOnPointerBeside);
    for (const kind of ['click', 'keydown']) document.removeEventListener(kind, wakeSound);
  });
  showBell();
}

function newBellIcon() {
  return add(
    draw('svg', { viewBox: '0 0 24 24', width: 18, height: 18, 'aria-hidden': 'true' }),
    draw('path', { d: 'M12 3a6 6 0 0 0-6 6v4.2L4 17h16l-2-3.8V9a6 6 0 0 0-6-6Z' }),
    draw('path', { d: 'M9.6 19.5a2.5 2.5 0 0 0 4.8 0' }),
    draw('path', { class: 'wta-bell-off', d: 'M4 3.5 20 20.5' }),
  );
}
