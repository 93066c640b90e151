// The buttons of an alert's detail, its resolution note, and the outcome of the last action.

import { isSnoozed, withPending } from './alerts.js';
import { add, disable, make, setText } from './dom.js';
import { describeUnsentNote } from './outcomes.js';

/** @param {import('./types.js').Panel} panel */
export function createActionBar(panel) {
  const { id, state, makeButton, serverNow } = panel;

  /**
   * @param {string} alertId
   * @returns {import('./types.js').ActionParts}
   */
  function newActionBar(alertId) {
    const snooze = makeButton('wta-button', 'Snooze …', () => panel.dialogs.askSnooze([alertId]), 'snooze');
    snooze.setAttribute('aria-haspopup', 'dialog');
    const part = {
      note: newNote(alertId),
      acknowledge: makeButton('wta-button', 'Acknowledge', () => panel.actions.act('acknowledge', [alertId]), 'acknowledge'),
      snooze,
      resolve: makeButton('wta-button', 'Resolve', () => panel.actions.act('resolve', [alertId]), 'resolve'),
      outcome: make('p', { className: 'wta-outcome', id: id('outcome'), role: 'status' }),
      readOnly: make(
        'p',
        { className: 'wta-muted', id: id('read-only') },
        'You have read-only access. Ask the administrator of this panel for the operator role.',
      ),
      buttons: make('div', 'wta-buttons'),
      actions: make('div', 'wta-actions'),
    };
    add(part.buttons, part.acknowledge, part.snooze, part.resolve);
    add(part.actions, part.outcome, part.note, part.buttons, part.readOnly);
    return part;
  }

  /** @param {string} alertId */
  function newNote(alertId) {
    const note = make('textarea', {
      className: 'wta-input',
      ariaLabel: 'Resolution note',
      id: id('note'),
      rows: 2,
      maxLength: 2000,
    });
    note.placeholder = 'How was it solved? Required to resolve.';
    note.value = state.drafts.get(alertId) ?? '';
    note.addEventListener('input', () => {
      state.drafts.set(alertId, note.value);
      note.removeAttribute('aria-invalid');
      if (state.outcomes.get(alertId)?.[0] === 'refused') showOutcome(alertId, '', '');
    });
    note.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) panel.actions.act('resolve', [alertId]);
    });
    return note;
  }

  function showActionBar() {
    if (!state.shown) return;
    const { part, alertId } = state.shown;
    const known = panel.detail.knownAlert(alertId);
    const alert = known && !known.gone ? withPending(known, state.pending.values()) : null;
    const isOpen = alert !== null && alert.status !== 'resolved';
    const isOperator = state.role === 'operator';
    // A note being written stays: the keys would act on something else.
    const isWriting = document.activeElement === part.note || Boolean(state.drafts.get(alertId)?.trim());
    const isUnsent = isWriting && known !== null && !isOpen && !alert?.pending;
    const last = state.outcomes.get(alertId);
    const [outcome, text] = last?.[1] ? last : isUnsent ? ['late', describeUnsentNote(alert)] : ['', ''];
    part.outcome.dataset.outcome = outcome;
    part.outcome.hidden = !text;
    panel.frame.setMessage(part.outcome, outcome, text);
    part.readOnly.hidden = state.role !== 'reader';
    part.buttons.hidden = !isOperator || !isOpen;
    part.note.hidden = !isOperator || !(isOpen || isUnsent);
    part.actions.hidden = part.outcome.hidden && part.readOnly.hidden && part.note.hidden;
    showButtons(part, alert, panel.actions.isPending(alertId));
  }

  /**
   * @param {import('./types.js').ActionParts} part
   * @param {import('./types.js').Alert | null} alert
   * @param {boolean} isBusy
   */
  function showButtons({ acknowledge, snooze, resolve }, alert, isBusy) {
    disable(acknowledge, isBusy || alert?.status !== 'active');
    disable(snooze, isBusy);
    disable(resolve, isBusy);
    acknowledge.classList.toggle('wta-primary', alert?.status !== 'acknowledged');
    resolve.classList.toggle('wta-primary', alert?.status === 'acknowledged');
    setText(acknowledge, alert?.status === 'acknowledged' ? 'Acknowledged' : 'Acknowledge');
    setText(snooze, alert && isSnoozed(alert, serverNow()) ? 'Snoozed …' : 'Snooze …');
  }

  /**
   * @param {string} alertId
   * @param {string} outcome
   * @param {string} text
   */
  function showOutcome(alertId, outcome, text) {
    state.outcomes.set(alertId, [outcome, text]);
    if (state.shown?.alertId === alertId) showActionBar();
    else if (text) panel.frame.showToast(outcome, [panel.list.rowOf(alertId)?.alert.token, text].filter(Boolean).join(': '));
  }

  return { newActionBar, showActionBar, showOutcome };
}
