// Title, favicon, sound and browser notification, for an operator who looks elsewhere. They are driven by responses and WebSocket
// messages, not by timers, because timers sleep in hidden tabs.

import { add, draw, label, make, setText } from './dom.js';
import { cut } from './format.js';
import { storage } from './storage.js';

/** @param {import('./types.js').Panel} panel */
export function createAlarm(panel) {
  const { on, props, makeButton, id } = panel;

  const PAGE_TITLE = 'Alerts';
  const AT_ONCE = 3; // notifications; more new alerts than this come as one
  /** @type {{ audio: AudioContext | null, favicon: string }} */
  const alarm = { audio: null, favicon: '' };

  /** @param {number} critical */
  function showInTab(critical) {
    const title = critical ? `(${critical}) ${PAGE_TITLE}` : PAGE_TITLE;
    if (document.title !== title) document.title = title;
    const text = critical > 99 ? '99+' : String(critical);
    if (alarm.favicon === text) return;
    alarm.favicon = text;
    const canvas = make('canvas');
    canvas.width = canvas.height = 64;
    const paint = canvas.getContext('2d');
    if (!paint) return;
    paint.fillStyle = critical ? '#dc2626' : '#475569';
    paint.beginPath();
    paint.roundRect(0, 0, 64, 64, 15);
    paint.fill();
    paint.fillStyle = '#fff';
    if (critical) {
      paint.font = `bold ${[50, 42, 30][text.length - 1]}px system-ui, sans-serif`;
      paint.textAlign = 'center';
      paint.textBaseline = 'middle';
      paint.fillText(text, 32, 35);
    } else {
      paint.beginPath(); // a bell
      paint.arc(32, 30, 15, Math.PI, 0);
      paint.lineTo(52, 46);
      paint.lineTo(12, 46);
      paint.fill();
      paint.beginPath();
      paint.arc(32, 48, 6, 0, Math.PI);
      paint.fill();
    }
    const link = make('link', { rel: 'icon', type: 'image/png', href: canvas.toDataURL('image/png') });
    for (const old of document.querySelectorAll('link[rel~="icon"]')) old.remove();
    document.head.append(link);
  }

  // ---- sound ----

  function audio() {
    alarm.audio ??= window.AudioContext ? new AudioContext() : null;
    return alarm.audio;
  }

  async function playSound() {
    const context = audio();
    if (!context) return;
    if (context.state === 'suspended')
      await Promise.race([
        context.resume(),
        new Promise((go) => {
          setTimeout(go, 500);
        }),
      ]);
    if (context.state !== 'running') return; // it would ring late, at the next click
    [
      [880, 0],
      [660, 0.18],
      [880, 0.36],
    ].forEach(([frequency, delay]) => {
      const begin = context.currentTime + delay;
      const tone = context.createOscillator();
      const volume = context.createGain();
      tone.frequency.value = frequency;
      volume.gain.setValueAtTime(0.0001, begin);
      volume.gain.exponentialRampToValueAtTime(0.25, begin + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, begin + 0.17);
      tone.connect(volume).connect(context.destination);
      tone.start(begin);
      tone.stop(begin + 0.18);
    });
  }

  // ---- notification ----

  function permission() {
    if (!('Notification' in window) || !window.isSecureContext) return 'missing';
    return Notification.permission;
  }

  /**
   * @param {string} title
   * @param {string} body
   * @param {string} tag
   * @param {string} [alertId] opened by a click; without one the notification goes by itself
   */
  function notify(title, body, tag, alertId) {
    if (permission() !== 'granted') return;
    try {
      const shownNote = new Notification(cut(title, 120), {
        body: cut(body, 240),
        tag,
        requireInteraction: alertId !== undefined,
      });
      shownNote.addEventListener('click', () => {
        window.focus();
        shownNote.close();
        if (!alertId) return;
        panel.frame.showPage('alerts', { remember: true });
        panel.detail.openAlert(alertId);
      });
    } catch {
      // some phones have notifications for installed apps only
    }
  }

  on('newCritical', (fresh) => {
    if (wants.sound()) playSound();
    if (!wants.notification()) return;
    if (fresh.length > AT_ONCE) {
      notify(
        `${fresh.length} new critical alerts`,
        cut(fresh.map(({ token, title }) => token || title).join(', '), 240),
        props.panel_id,
      );
      return;
    }
    fresh.forEach(({ id: alertId, token, title, error, message, simulated }) => {
      const what = token ? `${token}: ${title}` : title;
      notify(simulated ? `SIMULATED ${what}` : what, error || message, alertId, alertId);
    });
  });

  on('summary', ({ critical }) => {
    if (props.own_page) showInTab(critical);
  });

  // ---- the bell and its settings ----

  const ALARMS = { sound: 'walltrack-alerts.sound', notification: 'walltrack-alerts.notification' };
  const wants = {
    sound: () => storage.get(ALARMS.sound) === 'on',
    notification: () => storage.get(ALARMS.notification) === 'on' && permission() === 'granted',
  };
  const bell = label(
    makeButton('wta-icon wta-bell', undefined, () => openBell(Boolean(bellBox.hidden)), 'bell'),
    'Sound and notifications',
  );
  const bellIcon = draw('svg', { viewBox: '0 0 24 24', width: 18, height: 18, 'aria-hidden': 'true' });
  add(
    bellIcon,
    draw('path', { d: 'M12 3a6 6 0 0 0-6 6v4.2L4 17h16l-2-3.8V9a6 6 0 0 0-6-6Z' }),
    draw('path', { d: 'M9.6 19.5a2.5 2.5 0 0 0 4.8 0' }),
    draw('path', { class: 'wta-bell-off', d: 'M4 3.5 20 20.5' }),
  );
  add(bell, bellIcon);
  bell.setAttribute('aria-haspopup', 'dialog');
  const bellBox = make('div', {
    className: 'wta-bell-box',
    ariaLabel: 'Sound and notifications',
    id: id('bell-box'),
    role: 'dialog',
    hidden: true,
  });

  /**
   * @param {string} name
   * @param {string} text
   */
  function newChoice(name, text) {
    const box = make('input', { className: 'wta-tick-box', type: 'checkbox', id: id(`bell-${name}`) });
    const note = make('small', 'wta-muted');
    note.id = id(`bell-${name}-note`);
    box.setAttribute('aria-describedby', note.id);
    const line = make('label', { htmlFor: box.id }, box, text);
    return { box, note, line };
  }
  const soundChoice = newChoice('sound', 'Sound');
  const notificationChoice = newChoice('notification', 'Browser notification');
  const bellResult = make('small', { className: 'wta-bell-result', role: 'status' });
  const bellTest = makeButton(
    'wta-button',
    'Test',
    () => {
      const [sound, notification] = [wants.sound(), wants.notification()];
      if (sound) playSound();
      if (notification) notify('Test', 'This is how a new critical alert notifies you.', `${props.panel_id}-test`);
      const sent = [sound && 'a sound', notification && 'a notification'].filter(Boolean).join(' and ');
      setText(bellResult, sent ? `Sent: ${sent}.` : 'Enable sound or notifications first.');
    },
    'bell-test',
  );
  add(
    bellBox,
    make('b', '', 'For new critical alerts'),
    soundChoice.line,
    soundChoice.note,
    notificationChoice.line,
    notificationChoice.note,
    make('div', 'wta-bell-foot', bellTest, bellResult),
  );
  panel.frame.tools.prepend(make('div', 'wta-bell-place', bell, bellBox));

  const PERMISSIONS = {
    granted: '',
    default: 'Your browser will ask for permission.',
    denied: 'Your browser blocks notifications from this page. Allow them in the site settings, next to the address, and reload.',
    missing: 'This browser allows notifications only on https:// pages and on this machine.',
  };

  function showBell() {
    const may = permission();
    soundChoice.box.checked = wants.sound();
    notificationChoice.box.checked = wants.notification();
    notificationChoice.box.disabled = may === 'missing' || may === 'denied';
    setText(notificationChoice.note, PERMISSIONS[may]);
    const asleep = wants.sound() && audio()?.state === 'suspended';
    setText(soundChoice.note, asleep ? 'Your browser allows sound once you have clicked in this page.' : '');
    for (const { note } of [soundChoice, notificationChoice]) note.hidden = !note.textContent;
    const some = wants.sound() || wants.notification();
    bell.dataset.alarm = asleep ? 'asleep' : some ? 'on' : 'off';
    bell.title = asleep ? 'Click anywhere in this page to enable the sound' : some ? 'New critical alerts notify you' : 'Silent';
  }

  /** @param {boolean} open */
  function openBell(open) {
    bellBox.hidden = !open;
    bell.setAttribute('aria-expanded', String(open));
    setText(bellResult, '');
    showBell();
    if (open) soundChoice.box.focus();
  }

  soundChoice.box.addEventListener('change', async () => {
    storage.set(ALARMS.sound, soundChoice.box.checked ? 'on' : 'off');
    if (soundChoice.box.checked) await audio()?.resume();
    showBell();
  });
  notificationChoice.box.addEventListener('change', async () => {
    storage.set(ALARMS.notification, notificationChoice.box.checked ? 'on' : 'off');
    if (notificationChoice.box.checked && permission() === 'default') await Notification.requestPermission();
    showBell();
  });
  bellBox.addEventListener('keydown', (event) => {
    event.stopPropagation(); // the keys of the list mean something else here
    if (event.key !== 'Escape') return;
    openBell(false);
    bell.focus();
  });
  /** @param {PointerEvent} event */
  const leaveBell = ({ target }) => {
    if (!bellBox.hidden && !bellBox.parentElement?.contains(/** @type {Node} */ (target))) openBell(false);
  };
  const wakeSound = () => {
    if (wants.sound() && alarm.audio?.state === 'suspended') alarm.audio.resume().then(showBell);
  };
  document.addEventListener('pointerdown', leaveBell);
  for (const kind of ['click', 'keydown']) document.addEventListener(kind, wakeSound);
  on('closed', () => {
    document.removeEventListener('pointerdown', leaveBell);
    for (const kind of ['click', 'keydown']) document.removeEventListener(kind, wakeSound);
    alarm.audio?.close();
  });
  showBell();
}
