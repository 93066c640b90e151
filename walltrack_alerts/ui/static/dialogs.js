// Modal dialogs.

import { isSnoozed } from './alerts.js';
import { NAME_KEY } from './constants.js';
import { add, make, setText } from './dom.js';
import { capital, clock, plural } from './format.js';
import { storage } from './storage.js';

/** @param {import('./types.js').Panel} panel */
export function createDialogs(panel) {
  const { id, makeButton, root, serverNow, on, state, ownName, emit } = panel;

  /**
   * A modal dialog. Esc, Cancel and a click beside it mean no.
   * @param {object} question
   * @param {string} question.name
   * @param {string} question.title
   * @param {Element[]} [question.body]
   * @param {string | null} [question.confirm] label of the button that confirms; null: there is nothing to decide
   * @param {string} [question.refuse]
   * @param {boolean} [question.danger]
   * @param {() => unknown} [question.onConfirm] false keeps the dialog open
   * @param {() => void} [question.onClose]
   * @returns {() => void} closes it
   */
  function ask({ name, title, body = [], confirm = null, refuse = 'Cancel', danger = false, onConfirm, onClose }) {
    const before = document.activeElement;
    const dialog = make('dialog', { className: 'wta-dialog', id: id('dialog') });
    dialog.dataset.dialog = name;
    const heading = make('h3', { id: id('dialog-title') }, title);
    dialog.setAttribute('aria-labelledby', heading.id);
    const close = () => dialog.close();
    const form = make('form', { className: 'wta-dialog-form', method: 'dialog' });
    const buttons = make('div', 'wta-dialog-buttons');
    buttons.append(makeButton('wta-button', confirm === null ? 'Close' : refuse, close, 'dialog-no'));
    if (confirm !== null) {
      const yes = make(
        'button',
        { className: `wta-button ${danger ? 'wta-danger wta-filled' : 'wta-primary'}`, id: id('dialog-yes'), type: 'submit' },
        confirm,
      );
      buttons.append(yes);
    }
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (confirm === null || onConfirm?.() !== false) close();
    });
    /** @type {EventTarget | null} */
    let pressed = null; // a selection of text may end beside the dialog, and that is a click on it too
    dialog.addEventListener('pointerdown', ({ target }) => {
      pressed = target;
    });
    dialog.addEventListener('click', ({ target }) => {
      if (target === dialog && pressed === dialog) close();
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (!root.querySelector(':scope > .wta-dialog')) delete root.dataset.dialog; // confirming may have opened the next dialog
      panel.detail.placePane();
      // The event comes some time after the closing: the focus may be elsewhere by then.
      if (before?.isConnected && document.activeElement === document.body)
        panel.detail.focusAgain(/** @type {HTMLElement} */ (before));
      onClose?.();
    });
    root.append(add(dialog, add(form, heading, ...body, buttons)));
    root.dataset.dialog = name;
    dialog.showModal();
    /** @type {HTMLElement} */ (dialog.querySelector('[autofocus], .wta-choice') ?? buttons.lastElementChild).focus();
    return close;
  }

  const isAsking = () => root.querySelector(':scope > .wta-dialog[open]') !== null;

  /**
   * @template {HTMLInputElement | HTMLTextAreaElement} T
   * @param {T} input
   * @param {string} name
   * @param {string} text of its label
   * @param {string} [value]
   */
  function newField(input, name, text, value = '') {
    input.id = id(name);
    input.value = value;
    input.setAttribute('autofocus', '');
    const caption = make('label', { className: 'wta-field', htmlFor: input.id }, text);
    return { input, nodes: [caption, input] };
  }

  /**
   * Names the first alerts that an action is about.
   * @param {string[]} ids
   */
  function describeAlerts(ids) {
    const found = ids.flatMap((each) => panel.list.rowOf(each)?.alert ?? []);
    const names = found
      .slice(0, 6)
      .map(({ kind, token, title }) => [kind.toUpperCase(), token || title].filter(Boolean).join(' '));
    const rest = ids.length - names.length;
    return make('p', 'wta-muted wta-them', names.join(', ') + (rest > 0 ? ` and ${rest} more` : ''));
  }

  // By the server's clock, and at the click: the dialog may stay open for long.
  function tomorrow() {
    const now = new Date(serverNow());
    return new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1, 9).getTime();
  }
  /** @type {[string, () => number][]} */
  const SNOOZES = [
    ['15 minutes', () => serverNow() + 15 * 60e3],
    ['1 hour', () => serverNow() + 3600e3],
    ['4 hours', () => serverNow() + 4 * 3600e3],
    ['Tomorrow 9:00', tomorrow],
  ];

  function showSnoozeTimes() {
    SNOOZES.forEach(([, until], index) => {
      const button = root.querySelector(`:scope > .wta-dialog #${CSS.escape(id(`snooze-${index + 1}`))}`);
      if (button?.lastElementChild) setText(button.lastElementChild, `until ${clock(until(), { seconds: false })}`);
    });
  }
  on('tick', showSnoozeTimes);

  /** @param {string[]} ids */
  function askSnooze(ids, ticked = false) {
    if (state.role !== 'operator' || !ids.length || (!ticked && ids.length === 1 && panel.actions.isPending(ids[0]))) return;
    const known = ids.length === 1 ? (panel.list.rowOf(ids[0])?.alert ?? state.detail) : null;
    const only = known && !known.gone ? known : null;
    if (only?.status === 'resolved') return;
    const choices = make('div', 'wta-choices');
    let close = () => {};
    /**
     * @param {string} text
     * @param {string} aside
     * @param {() => number | null} until
     * @param {string} name
     */
    const choice = (text, aside, until, name) => {
      const button = makeButton(
        'wta-button wta-choice',
        undefined,
        () => {
          close();
          panel.actions.act('snooze', ids, { until: until(), ticked });
        },
        name,
      );
      choices.append(add(button, make('span', '', text), make('small', '', aside)));
    };
    for (const [index, [text, until]] of SNOOZES.entries()) choice(text, '', until, `snooze-${index + 1}`);
    if (!only || isSnoozed(only, serverNow())) choice('End the snooze', 'now', () => null, 'snooze-wake');
    choices.addEventListener('keydown', (event) => {
      const buttons = /** @type {HTMLElement[]} */ ([...choices.children]);
      const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, j: at + 1, k: at - 1 }[event.key];
      const target = /^[1-5]$/.test(event.key) ? buttons[Number(event.key) - 1] : buttons[to ?? -1];
      if (!target) return;
      event.preventDefault();
      if (to === undefined) target.click();
      else target.focus();
    });
    const what = ids.length === 1 ? `Snooze ${only?.token || 'this alert'}` : `Snooze ${plural(ids.length, 'alert')}`;
    close = ask({
      name: 'snooze',
      title: what,
      body: [
        ...(ids.length > 1 ? [describeAlerts(ids)] : []),
        make('p', 'wta-muted', 'It is not counted in the tiles until the snooze ends or its severity rises.'),
        choices,
      ],
    });
    showSnoozeTimes();
  }

  /** @param {import('./types.js').BulkAction} kind */
  function askBulk(kind) {
    const ids = state.loaded.map((alert) => alert.id).filter((each) => state.checked.has(each));
    if (!ids.length || state.role !== 'operator') return;
    if (kind === 'snooze') {
      askSnooze(ids, true);
      return;
    }
    const count = plural(ids.length, 'alert');
    /** @type {Element[]} */
    const body = [describeAlerts(ids)];
    /** @type {HTMLTextAreaElement | null} */
    let note = null;
    if (kind === 'resolve') {
      // A note for these alerts that could not be saved is offered again.
      const before = ids.every((each) => state.bulkNote.ids.includes(each)) ? state.bulkNote.text : '';
      const { input, nodes } = newField(
        make('textarea', 'wta-input'),
        'dialog-note',
        'How were they solved? The note is stored with each alert.',
        before,
      );
      input.rows = 3;
      input.maxLength = 2000;
      input.required = true;
      note = input;
      body.push(...nodes);
    }
    ask({
      name: kind,
      title: `${capital(kind)} ${count}?`,
      body,
      confirm: `${capital(kind)} ${count}`,
      onConfirm: () => {
        const words = note?.value.trim() ?? '';
        if (note && !words) {
          note.focus();
          return false;
        }
        if (note) state.bulkNote = { text: words, ids };
        panel.actions.act(kind, ids, { note: note ? words : undefined, ticked: true });
        return true;
      },
    });
  }

  /**
   * Says what will happen to the order before it is done.
   * @param {import('./types.js').OrderAction} kind
   */
  function askOrder(kind) {
    const alert = state.detail;
    if (!alert || alert.gone || !alert.order || alert.order.refusals[kind] || state.role !== 'operator') return;
    const what = [alert.kind.toUpperCase(), 'order', alert.amount && `of ${alert.amount}`].filter(Boolean).join(' ');
    const isExit = alert.kind !== 'entry';
    const list = make('ul', 'wta-will');
    /** @param {string} text */
    const will = (text) => list.append(make('li', '', text));
    /** @type {Element[]} */
    const body = [make('p', 'wta-them', `${what} · ${alert.token} · now ${alert.order.status}`), list];
    /** @type {HTMLInputElement | null} */
    let reason = null;
    if (kind === 'retry') {
      const stake = alert.simulated ? 'It is simulated: no funds are at risk.' : 'It trades real money.';
      will(`The order goes back to pending, and the bot retries it at its next poll. ${stake}`);
      will('The attempts stay counted. If the order fails again, this alert is updated.');
      will('The alert stays open until the order is filled.');
    } else {
      will('The order is cancelled for good: the bot will never retry it.');
      will('The alert is resolved.');
      if (isExit) will(alert.simulated ? 'The simulated position stays open.' : 'The position stays open. Close it by hand.');
      const { input, nodes } = newField(
        make('input', 'wta-input'),
        'dialog-note',
        'Reason',
        state.reasons.get(alert.id) ?? 'Manually cancelled',
      );
      input.addEventListener('input', () => state.reasons.set(alert.id, input.value));
      input.maxLength = 500;
      reason = input;
      body.push(...nodes);
    }
    ask({
      name: kind,
      title: kind === 'retry' ? 'Retry this order?' : 'Cancel this order?',
      body,
      confirm: kind === 'retry' ? 'Retry the order' : 'Cancel the order',
      refuse: kind === 'cancel' ? 'Keep the order' : 'Not now',
      danger: kind === 'cancel',
      onConfirm: () => panel.actions.act(kind, [alert.id], { note: reason?.value.trim() }),
    });
  }

  /** @param {() => void} [then] called once a name is given */
  function askName(then) {
    const { input, nodes } = newField(make('input', 'wta-input'), 'name', 'Your name', ownName());
    input.maxLength = 100;
    input.autocomplete = 'name';
    let named = false;
    ask({
      name: 'name',
      title: 'Who are you?',
      body: [make('p', 'wta-muted', 'Your name is recorded with your actions and remembered in this browser.'), ...nodes],
      confirm: 'Save name',
      onConfirm: () => {
        const name = input.value.trim();
        if (!name) {
          input.focus();
          return false;
        }
        storage.set(NAME_KEY, name);
        state.fallbackName = name;
        emit('identity');
        named = true;
        return true;
      },
      onClose: () => {
        if (named) then?.();
      },
    });
  }

  /**
   * Asks for the operator's name if the page does not know it.
   * @param {() => void} then called once it is given
   * @returns {boolean} whether it was missing
   */
  function askMissingName(then) {
    const isMissing = state.user === '' && !ownName();
    if (isMissing) askName(then);
    return isMissing;
  }

  /** @type {[string[], string][]} */
  const HELP = [
    [['j', '↓'], 'next alert'],
    [['k', '↑'], 'previous alert'],
    [['Enter'], 'open the alert'],
    [['Esc'], 'close, clear'],
    [['a'], 'acknowledge'],
    [['r'], 'resolve: write the note, then Ctrl+Enter'],
    [['s'], 'snooze'],
    [['x'], 'select; with selected ones a, r and s act on all of them'],
    [['/'], 'search'],
    [['?'], 'this help'],
  ];

  function showHelp() {
    const keys = make('dl', 'wta-keys');
    for (const [names, text] of HELP) {
      keys.append(make('dt', '', ...names.map((name) => make('kbd', '', name))), make('dd', '', text));
    }
    ask({ name: 'help', title: 'Keys', body: [keys] });
  }

  return { ask, askBulk, askMissingName, askName, askOrder, askSnooze, isAsking, showHelp };
}
