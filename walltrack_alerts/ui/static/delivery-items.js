// One element per target, dead letter and silence.

import { describeFilter, describeMatches, stateOf } from './deliveries.js';
import { add, label, make } from './dom.js';
import { capital, clock, plural } from './format.js';

/**
 * @typedef {import('./types.js').DeadLetter} DeadLetter
 * @typedef {import('./types.js').Silence} Silence
 * @typedef {import('./types.js').Target} Target
 */

/**
 * @param {string} name
 * @param {(Node | string)[]} value
 */
const fact = (name, ...value) => make('div', '', make('dt', '', name), make('dd', '', ...value));

/**
 * @param {import('./types.js').Panel} panel
 * @param {ReturnType<typeof import('./delivery-changes.js').createDeliveryChanges>} changes
 */
export function createDeliveryItems(panel, { askDrop, askEnd, askReplay }) {
  const { age, makeButton } = panel;

  /** @param {Target} target */
  function newTarget(target) {
    const item = make('li', 'wta-target');
    item.dataset.target = target.name;
    item.dataset.state = stateOf(target);
    const chip = make('span', 'wta-chip wta-chip-target', stateOf(target));
    const where = [capital(target.kind), target.address].filter(Boolean).join(' · ');
    add(item, make('div', 'wta-target-head', make('b', '', target.name), make('span', 'wta-muted', where), chip));
    if (!target.enabled) {
      const why = make('p', 'wta-target-why', 'Disabled ');
      item.append(add(why, age(target.disabled ?? 0, ' ago'), target.reason && `: ${target.reason}`));
    }
    const waiting = [String(target.pending)];
    if (target.unread) waiting.push(`${plural(target.unread, 'event')} unread`);
    const pending = fact('Pending', waiting.join(' · '));
    if (target.oldest !== null) add(/** @type {Element} */ (pending.lastElementChild), ' · oldest ', age(target.oldest));
    const letters = fact('Dead letters', String(target.dead));
    letters.dataset.some = String(target.dead > 0);
    const success = target.success === null ? 'never' : age(target.success, ' ago');
    add(item, make('dl', '', fact('Last success', success), pending, letters, fact('Receives', describeFilter(target))));
    if (target.failure !== null) {
      const error = make('p', 'wta-target-error', 'Last error ');
      item.append(add(error, age(target.failure, ' ago'), `: ${target.response || 'no response'}`));
    }
    return item;
  }

  /** @param {DeadLetter} letter */
  function newDeadLetter(letter) {
    const item = make('li', 'wta-dead');
    item.dataset.delivery = String(letter.id);
    const name = letter.title || 'Deleted alert';
    const open = makeButton('wta-link', name, () => openAlert(letter.alert), `dead-${letter.id}`);
    const chip = make('span', 'wta-chip', letter.severity);
    chip.dataset.severity = letter.severity;
    const what = make('span', 'wta-muted', `${letter.event} to ${letter.target} · ${plural(letter.attempts, 'attempt')}`);
    if (letter.tried !== null) add(what, ', the last ', age(letter.tried, ' ago'));
    const replay = makeButton('wta-button', 'Replay …', () => askReplay([letter]), `replay-${letter.id}`);
    const drop = makeButton('wta-button wta-danger', 'Drop …', () => askDrop([letter]), `drop-${letter.id}`);
    label(replay, `Replay … ${name} to ${letter.target}`);
    label(drop, `Drop … ${name} to ${letter.target}`);
    return add(
      item,
      make('div', 'wta-dead-what', make('span', 'wta-dead-name', chip, letter.title ? open : name), what),
      make('span', 'wta-dead-response', letter.response || 'no response'),
      make('span', 'wta-box-buttons', replay, drop),
    );
  }

  /** @param {Silence} silence */
  function newSilence(silence) {
    const item = make('li', 'wta-dead');
    item.dataset.silence = String(silence.id);
    const matches = describeMatches(silence.matches);
    const end = makeButton('wta-button', 'End …', () => askEnd(silence), `end-silence-${silence.id}`);
    label(end, `End … the silence of ${matches}`);
    return add(
      item,
      make('div', 'wta-dead-what', make('b', '', matches), make('span', 'wta-muted', `by ${silence.by}`)),
      make('span', 'wta-dead-response', make('b', '', `until ${clock(silence.until, { seconds: false })} `), silence.reason),
      make('span', 'wta-box-buttons', end),
    );
  }

  /** @param {string} alertId */
  function openAlert(alertId) {
    panel.frame.showPage('alerts', { remember: true });
    panel.detail.openAlert(alertId);
  }

  return { newDeadLetter, newSilence, newTarget };
}
