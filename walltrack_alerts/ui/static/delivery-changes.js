// Replays and drops dead letters and ends silences, each after a question.

import { describeMatches, nameDeliveries } from './deliveries.js';
import { make } from './dom.js';
import { plural } from './format.js';
import { NO_RESPONSE, newNonce } from './requests.js';

/**
 * @typedef {import('./types.js').DeadLetter} DeadLetter
 * @typedef {import('./types.js').Silence} Silence
 */

/**
 * @param {import('./types.js').Panel} panel
 * @param {object} page
 * @param {() => boolean} page.hasRelay
 * @param {() => void} page.onPending called when the number of changes on their way is another one
 */
export function createDeliveryChanges(panel, { hasRelay, onPending }) {
  /** @type {Set<string>} Nonces of the changes on their way. */
  const pending = new Set();

  /**
   * @param {object} question
   * @param {string} question.name
   * @param {string} question.title
   * @param {string} question.confirm
   * @param {string} question.items what it is about
   * @param {string} question.consequence
   * @param {boolean} [question.danger]
   * @param {() => void} question.onConfirm
   */
  function ask({ items, consequence, ...question }) {
    panel.dialogs.ask({ ...question, body: [make('p', 'wta-them', items), make('p', 'wta-muted', consequence)] });
  }

  /** @param {DeadLetter[]} letters */
  function askReplay(letters) {
    const count = plural(letters.length, 'delivery', 'deliveries');
    const wait = hasRelay() ? '' : ' They wait until a relay is running.';
    ask({
      name: 'replay',
      title: `Replay ${count}?`,
      items: nameDeliveries(letters),
      consequence: `They get as many attempts as new deliveries.${wait}`,
      confirm: `Replay ${count}`,
      onConfirm: () => change('replay_deliveries', letters),
    });
  }

  /** @param {DeadLetter[]} letters */
  function askDrop(letters) {
    const count = plural(letters.length, 'delivery', 'deliveries');
    ask({
      name: 'drop',
      title: `Drop ${count}?`,
      items: nameDeliveries(letters),
      consequence: 'This is final: dropped deliveries are never sent. The timeline of each alert shows who dropped them.',
      confirm: `Drop ${count}`,
      danger: true,
      onConfirm: () => change('drop_deliveries', letters),
    });
  }

  /** @param {Silence} silence */
  function askEnd(silence) {
    ask({
      name: 'end-silence',
      title: 'End this silence?',
      items: describeMatches(silence.matches),
      consequence: 'Its alerts make sound and are delivered again. Events that were silenced are not delivered later.',
      confirm: 'End the silence',
      onConfirm: () => change('end_silence', [silence]),
    });
  }

  /**
   * @param {'replay_deliveries' | 'drop_deliveries' | 'end_silence'} kind
   * @param {{ id: number }[]} items
   */
  function change(kind, items) {
    if (panel.dialogs.askMissingName(() => change(kind, items))) return;
    const nonce = newNonce();
    pending.add(nonce);
    onPending();
    panel.requests.send(
      kind,
      { nonce, ids: items.map((each) => each.id), actor: panel.ownName() },
      {
        onObstacle: (outcome, text) => settle(nonce, outcome, text),
        onTimeout() {
          if (pending.has(nonce)) settle(nonce, 'failed', `${NO_RESPONSE} Check the list before you try again.`);
        },
      },
    );
  }

  /**
   * @param {string} nonce
   * @param {string} outcome
   * @param {string} text
   */
  function settle(nonce, outcome, text) {
    pending.delete(nonce);
    onPending();
    panel.frame.showToast(outcome, text);
  }

  return { askDrop, askEnd, askReplay, countPending: () => pending.size, settle };
}
