// Acknowledge, resolve, snooze, retry and cancel: the page shows the effect of an action at once; the response of the database confirms or reverts it.

import { isSnoozed, withPending } from './alerts.js';
import { PATIENCE_MS, THANKS_MS } from './constants.js';
import { add, disable, make, setText } from './dom.js';
import { clock, localizeTimes } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createActions(panel) {
  const { id, state, makeButton, ownName, root, emit, serverNow } = panel;

  /**
   * @param {string} alertId
   * @returns {import('./types.js').ActionParts}
   */
  function newActions(alertId) {
    const snooze = makeButton('wta-button', 'Snooze …', () => panel.dialogs.askSnooze([alertId]), 'snooze');
    snooze.setAttribute('aria-haspopup', 'dialog');
    const part = {
      note: newNote(alertId),
      acknowledge: makeButton('wta-button', 'Acknowledge', () => act('acknowledge', [alertId]), 'acknowledge'),
      snooze,
      resolve: makeButton('wta-button', 'Resolve', () => act('resolve', [alertId]), 'resolve'),
      said: make('p', { className: 'wta-said', id: id('said'), role: 'status' }),
      readOnly: make(
        'p',
        { className: 'wta-muted', id: id('read-only') },
        'You have read-only access. Ask the administrator of this panel for the operator role.',
      ),
      buttons: make('div', 'wta-buttons'),
      actions: make('div', 'wta-actions'),
    };
    add(part.buttons, part.acknowledge, part.snooze, part.resolve);
    add(part.actions, part.said, part.note, part.buttons, part.readOnly);
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
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) act('resolve', [alertId]);
    });
    return note;
  }

  /** @type {Record<string, string>} */
  const DONE = {
    acknowledge: 'Acknowledged.',
    resolve: 'Resolved.',
    snooze: 'Snoozed.',
    wake: 'Snooze ended.',
    retry: 'The order is pending again, and the bot will retry it.',
    cancel: 'The order is cancelled.',
  };

  /** @param {string} alertId */
  const isPending = (alertId) => [...state.pending.values()].some((action) => action.ids.includes(alertId));

  /** @param {import('./types.js').Alert | null} alert that was resolved or purged while a note was written */
  function lateNote(alert) {
    const at = alert?.resolved ? ` at ${clock(alert.resolved)}` : '';
    const what = alert ? `${alert.by} resolved it${at}, before you.` : 'The alert no longer exists.';
    return `${what} Your note was not sent.`;
  }

  function showActions() {
    if (!state.shown) return;
    const { part, alertId } = state.shown;
    const known = panel.detail.knownAlert(alertId);
    const alert = known && !known.gone ? withPending(known, state.pending.values()) : null;
    const isOpen = alert !== null && alert.status !== 'resolved';
    const busy = isPending(alertId);
    const operator = state.role === 'operator';
    // A note being written stays: the keys would act on something else.
    const left = document.activeElement === part.note || Boolean(state.drafts.get(alertId)?.trim());
    const late = left && known !== null && !isOpen && !alert?.pending;
    const said = state.outcomes.get(alertId);
    const [outcome, text] = said?.[1] ? said : late ? ['late', lateNote(alert)] : ['', ''];
    part.said.dataset.outcome = outcome;
    part.said.hidden = !text;
    panel.frame.setMessage(part.said, outcome, text);
    part.readOnly.hidden = state.role !== 'reader';
    part.buttons.hidden = !operator || !isOpen;
    part.note.hidden = !operator || !(isOpen || late);
    part.actions.hidden = part.said.hidden && part.readOnly.hidden && part.note.hidden;
    disable(part.acknowledge, busy || alert?.status !== 'active');
    disable(part.snooze, busy);
    disable(part.resolve, busy);
    part.acknowledge.classList.toggle('wta-primary', alert?.status !== 'acknowledged');
    part.resolve.classList.toggle('wta-primary', alert?.status === 'acknowledged');
    setText(part.acknowledge, alert?.status === 'acknowledged' ? 'Acknowledged' : 'Acknowledge');
    setText(part.snooze, alert && isSnoozed(alert, serverNow()) ? 'Snoozed …' : 'Snooze …');
  }

  /**
   * @param {string} alertId
   * @param {string} outcome
   * @param {string} text
   */
  function showOutcome(alertId, outcome, text) {
    state.outcomes.set(alertId, [outcome, text]);
    if (state.shown?.alertId === alertId) showActions();
    else if (text) panel.frame.showToast(outcome, [panel.list.rowOf(alertId)?.alert.token, text].filter(Boolean).join(': '));
  }

  const NOT_SENT = "The panel's server cannot be reached. Nothing was sent.";
  const SIGNED_OUT = 'You have been signed out. Nothing was sent.';
  const AT_A_TIME = 100; // alerts in one request; the server has a deadline for all of them

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
    let { note, ticked = false } = more;
    if (alone && !ticked && isPending(alone)) {
      showOutcome(alone, 'refused', 'Still waiting for the previous action. Nothing was sent.');
      return;
    }
    if (kind === 'resolve' && note === undefined && state.shown && state.shown.alertId === alone) {
      const field = state.shown.part.note;
      note = field.value.trim();
      if (!note) {
        field.setAttribute('aria-invalid', 'true');
        field.focus();
        showFailure(alone, 'refused', 'Enter a resolution note first.');
        return;
      }
    }
    if (state.user === '' && !ownName()) {
      panel.dialogs.askName(() => act(kind, ids, { ...more, note }));
      return;
    }
    if (state.connection.status === 'signed-out') {
      showFailure(alone, 'signed-out', SIGNED_OUT);
      return;
    }
    if (root.dataset.state === 'offline') {
      showFailure(alone, 'failed', NOT_SENT);
      return;
    }
    const actor = ownName();
    if (root.dataset.user !== actor) emit('identity'); // it was given in another tab
    if (alone) showOutcome(alone, '', '');
    send({ kind, ids, actor, note, until: more.until, alone, ticked, count: ids.length, outcomes: [] });
  }

  /**
   * Why nothing can be sent now, as an outcome and its text; null when the server answers.
   * @returns {Promise<[string, string] | null>}
   */
  async function findObstacle() {
    const answer = await panel.gradio.call('ping', {});
    if (!answer.offline) return null;
    if (answer.signedOut) {
      panel.connection.onSignedOut();
      return ['signed-out', SIGNED_OUT];
    }
    panel.reader.showProblem(answer);
    return ['failed', NOT_SENT];
  }

  /**
   * Sends to a server that answers only: Gradio would keep the click for later and reload the page, losing half-written notes.
   * Of many alerts the first ones go; their answer sends the next ones, so that none waits too long for its own.
   * @param {import('./types.js').Action} action
   */
  async function send(action) {
    const { kind, ids, actor, note, until, alone, outcomes } = action;
    const nonce = crypto.getRandomValues(new Uint32Array(4)).join('-');
    state.pending.set(nonce, action);
    showPending();
    const obstacle = await findObstacle();
    if (!panel.gradio.isShown()) return;
    if (obstacle) {
      const [outcome, words] = obstacle;
      state.pending.delete(nonce);
      showPending();
      showFailure(alone, outcome, outcomes.length ? words.replace('Nothing', 'Nothing more') : words);
      return;
    }
    panel.gradio.send(kind, { nonce, ids: ids.slice(0, AT_A_TIME), actor, note, until });
    setTimeout(() => {
      if (!state.pending.delete(nonce)) return;
      state.overdue.set(nonce, action);
      showPending();
      showFailure(alone, 'failed', "The panel's server did not respond. Check the status before you try again.");
    }, PATIENCE_MS);
  }

  function showPending() {
    root.dataset.pending = String(state.pending.size);
    panel.list.refreshRows();
    if (state.shown) panel.detail.showDetail();
  }

  /**
   * @param {string} nonce
   * @param {import('./types.js').Outcome[]} outcomes
   */
  function applyAnswer(nonce, outcomes) {
    for (const each of outcomes) {
      each.text = each.first
        ? `${each.first.by} ${each.first.did} it at ${clock(each.first.at)}, before you.`
        : localizeTimes(each.text);
    }
    const action = state.pending.get(nonce) ?? state.overdue.get(nonce);
    // After a refusal the rest would be refused too; after a timeout or without a database the status must be checked first.
    const goesOn =
      state.pending.has(nonce) && outcomes.some((each) => !['refused', 'signed-out'].includes(each.outcome) && !each.away);
    const rest = action?.ids.slice(AT_A_TIME) ?? [];
    state.pending.delete(nonce);
    state.overdue.delete(nonce);
    state.reading.actionAnswers += 1;
    const places = new Map(state.loaded.map((alert, index) => [alert.id, index]));
    for (const alert of outcomes.flatMap((each) => each.alert ?? [])) {
      const at = places.get(alert.id);
      if (at !== undefined) state.loaded[at] = { ...alert, silenced: state.loaded[at].silenced };
      const { detail } = state;
      if (detail && !detail.gone && detail.id === alert.id) {
        const { address, silenced } = detail; // the answer has neither
        state.detail = { ...detail, ...alert, address, silenced };
      }
    }
    const written = action?.kind === 'resolve' ? state.drafts : action?.kind === 'cancel' ? state.reasons : null;
    for (const each of outcomes) if (each.outcome === 'done') written?.delete(each.id);
    action?.outcomes.push(...outcomes);
    if (action && rest.length && goesOn) send({ ...action, ids: rest });
    else showPending();
    if (action) report(action, rest.length > 0 && !goesOn);
    panel.reader.readList();
    state.reading.detailShown = state.reading.detail + 1; // details requested before this answer are older than it
    if (state.selected) panel.reader.readDetail();
  }

  /**
   * @param {import('./types.js').Action} action
   * @param {boolean} isCutOff
   */
  function report(action, isCutOff) {
    const { outcomes } = action;
    const kind = action.kind === 'snooze' && action.until === null ? 'wake' : action.kind;
    const settled = outcomes.filter((each) => ['done', 'late'].includes(each.outcome));
    if (action.ticked) {
      if (kind === 'resolve' && settled.length === action.count) state.bulkNote = { text: '', ids: [] };
      for (const each of settled) state.checked.delete(each.id);
      panel.list.markRows();
      panel.selection.showBulk();
    }
    const { alone } = action;
    if (alone) {
      const [{ outcome, text }] = outcomes;
      const words = outcome === 'done' ? [DONE[kind], text].filter(Boolean).join(' ') : text;
      showOutcome(alone, outcome, words);
      if (outcome === 'done')
        setTimeout(() => {
          if (state.outcomes.get(alone)?.[1] === words) showOutcome(alone, '', '');
        }, THANKS_MS);
      return;
    }
    const others = outcomes.filter((each) => each.outcome !== 'done');
    const done = outcomes.length - others.length;
    const [told] = [...others, ...outcomes].map((each) => each.text).filter(Boolean);
    const words = [`${DONE[kind].replace('.', '')}: ${done} of ${action.count}.`, told, isCutOff && 'The rest was not sent.'];
    panel.frame.showToast(others.length || isCutOff ? 'late' : 'done', words.filter(Boolean).join(' '));
  }

  panel.gradio.onAnswer((answer) => {
    if (answer.outcomes) applyAnswer(answer.nonce ?? '', answer.outcomes);
    if (answer.change) panel.targets.applyAnswer(answer.nonce ?? '', answer.change);
    if (answer.role === 'anonymous') panel.connection.onSignedOut();
    else if (answer.role) panel.connection.applyIdentity(answer);
  });

  return { act, findObstacle, isPending, newActions, showActions };
}
