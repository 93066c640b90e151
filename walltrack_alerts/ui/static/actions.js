// Acknowledge, resolve, snooze, retry and cancel: the page shows the effect of an action at once; the response of the database confirms or reverts it.

import { THANKS_MS } from './constants.js';
import { canSendRest, describeOutcome, describeOutcomes, isSettled, localizeOutcome } from './outcomes.js';
import { NO_RESPONSE, newNonce } from './requests.js';

/**
 * @typedef {import('./types.js').Action} Action
 * @typedef {import('./types.js').Outcome} Outcome
 */

const AT_A_TIME = 100; // alerts in one request; the server has a deadline for all of them

/** @param {import('./types.js').Panel} panel */
export function createActions(panel) {
  const { state, ownName, root, emit } = panel;
  const { showOutcome } = panel.actionBar;

  /** @param {string} alertId */
  const isPending = (alertId) => [...state.pending.values()].some((action) => action.ids.includes(alertId));

  /**
   * @param {string | null} alone
   * @param {string} outcome
   * @param {string} text
   */
  const showFailure = (alone, outcome, text) =>
    alone ? showOutcome(alone, outcome, text) : panel.frame.showToast(outcome, text);

  /**
   * Starts an action on alerts.
   * @param {import('./types.js').ActionKind} kind
   * @param {string[]} ids
   * @param {{ note?: string, until?: number | null, ticked?: boolean }} [more] note or reason; end of a snooze; whether it is about the ticked rows
   */
  function act(kind, ids, more = {}) {
    if (!ids.length || state.role !== 'operator') return;
    const alone = ids.length === 1 ? ids[0] : null;
    const { ticked = false } = more;
    if (alone && !ticked && isPending(alone)) {
      showOutcome(alone, 'refused', 'Still waiting for the previous action. Nothing was sent.');
      return;
    }
    const needsNote = kind === 'resolve' && more.note === undefined && state.shown?.alertId === alone;
    const note = needsNote ? readNote(alone) : more.note;
    if (needsNote && !note) return;
    if (panel.dialogs.askMissingName(() => act(kind, ids, { ...more, note }))) return;
    const obstacle = panel.requests.knownObstacle();
    if (obstacle) {
      showFailure(alone, ...obstacle);
      return;
    }
    const actor = ownName();
    if (root.dataset.user !== actor) emit('identity'); // it was given in another tab
    if (alone) showOutcome(alone, '', '');
    send({ kind, ids, actor, note, until: more.until, alone, ticked, count: ids.length, outcomes: [] });
  }

  /**
   * The resolution note in the detail; the operator is asked for a missing one.
   * @param {string | null} alertId
   */
  function readNote(alertId) {
    const field = state.shown?.part.note;
    const note = field?.value.trim();
    if (field && !note) {
      field.setAttribute('aria-invalid', 'true');
      field.focus();
      showFailure(alertId, 'refused', 'Enter a resolution note first.');
    }
    return note;
  }

  /**
   * Of many alerts the first ones go; their answer sends the next ones, so that none waits too long for its own.
   * @param {Action} action
   */
  function send(action) {
    const { kind, ids, actor, note, until, alone, outcomes } = action;
    const nonce = newNonce();
    state.pending.set(nonce, action);
    showPending();
    panel.requests.send(
      kind,
      { nonce, ids: ids.slice(0, AT_A_TIME), actor, note, until },
      {
        onObstacle(outcome, text) {
          state.pending.delete(nonce);
          showPending();
          showFailure(alone, outcome, outcomes.length ? text.replace('Nothing', 'Nothing more') : text);
        },
        onTimeout() {
          if (!state.pending.delete(nonce)) return;
          state.overdue.set(nonce, action);
          showPending();
          showFailure(alone, 'failed', `${NO_RESPONSE} Check the status before you try again.`);
        },
      },
    );
  }

  function showPending() {
    root.dataset.pending = String(state.pending.size);
    panel.list.refreshRows();
    if (state.shown) panel.detail.showDetail();
  }

  /**
   * @param {string} nonce
   * @param {Outcome[]} answer
   */
  function applyAnswer(nonce, answer) {
    const outcomes = answer.map(localizeOutcome);
    const action = state.pending.get(nonce) ?? state.overdue.get(nonce);
    const sendsRest = state.pending.has(nonce) && canSendRest(outcomes);
    const rest = action?.ids.slice(AT_A_TIME) ?? [];
    state.pending.delete(nonce);
    state.overdue.delete(nonce);
    state.reading.actionAnswers += 1;
    for (const { alert } of outcomes) if (alert) keepAlert(alert);
    const written = action?.kind === 'resolve' ? state.drafts : action?.kind === 'cancel' ? state.reasons : null;
    for (const { id, outcome } of outcomes) if (outcome === 'done') written?.delete(id);
    action?.outcomes.push(...outcomes);
    if (action && rest.length && sendsRest) send({ ...action, ids: rest });
    else showPending();
    if (action) report(action, rest.length > 0 && !sendsRest);
    panel.reader.readList();
    state.reading.detailShown = state.reading.detail + 1; // details requested before this answer are older than it
    if (state.selected) panel.reader.readDetail();
  }

  /**
   * Keeps an alert of an answer in the list and in the detail, where they have it. The answer has no silence, and its address is a short one.
   * @param {import('./types.js').Alert} alert
   */
  function keepAlert(alert) {
    const { detail, loaded } = state;
    const place = loaded.findIndex((each) => each.id === alert.id);
    if (place >= 0) loaded[place] = { ...alert, silenced: loaded[place].silenced };
    if (detail && !detail.gone && detail.id === alert.id) {
      const { address, silenced } = detail;
      state.detail = { ...detail, ...alert, address, silenced };
    }
  }

  /**
   * @param {Action} action
   * @param {boolean} isCutOff
   */
  function report(action, isCutOff) {
    const { alone, outcomes } = action;
    if (action.ticked) untick(action);
    if (!alone) {
      panel.frame.showToast(...describeOutcomes(action, isCutOff));
      return;
    }
    const [{ outcome }] = outcomes;
    const text = describeOutcome(action, outcomes[0]);
    showOutcome(alone, outcome, text);
    if (outcome !== 'done') return;
    setTimeout(() => {
      if (state.outcomes.get(alone)?.[1] === text) showOutcome(alone, '', '');
    }, THANKS_MS);
  }

  /**
   * Unticks the rows that an action on the ticked ones has settled.
   * @param {Action} action
   */
  function untick({ kind, count, outcomes }) {
    const settled = outcomes.filter(isSettled);
    if (kind === 'resolve' && settled.length === count) state.bulkNote = { text: '', ids: [] };
    for (const each of settled) state.checked.delete(each.id);
    panel.list.markRows();
    panel.selection.showBulk();
  }

  return { act, applyAnswer, isPending };
}
