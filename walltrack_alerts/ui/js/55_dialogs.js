// ---- questions, asked inside the page ----

// A modal dialog; `confirm` may be null (nothing to decide). Esc, Cancel and a click beside it mean no.
function ask({ name, title, body = [], confirm = null, refuse = 'Cancel', danger = false, onConfirm, onClose }) {
  const before = document.activeElement;
  const dialog = make('dialog', 'wta-dialog');
  dialog.id = id('dialog');
  dialog.dataset.dialog = name;
  const heading = make('h3', '', title);
  heading.id = id('dialog-title');
  dialog.setAttribute('aria-labelledby', heading.id);
  const close = () => dialog.close();
  const form = make('form', 'wta-dialog-form');
  form.method = 'dialog';
  const buttons = make('div', 'wta-dialog-buttons');
  buttons.append(makeButton('wta-button', confirm === null ? 'Close' : refuse, close, 'dialog-no'));
  if (confirm !== null) {
    const yes = make('button', `wta-button ${danger ? 'wta-danger wta-filled' : 'wta-primary'}`, confirm);
    yes.id = id('dialog-yes');
    yes.type = 'submit';
    buttons.append(yes);
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (confirm === null || onConfirm() !== false) close();
  });
  let pressed = null; // a selection of text may end beside the dialog, and that is a click on it too
  dialog.addEventListener('pointerdown', ({ target }) => { pressed = target; });
  dialog.addEventListener('click', ({ target }) => {
    if (target === dialog && pressed === dialog) close();
  });
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (!root.querySelector(':scope > .wta-dialog')) delete root.dataset.dialog; // confirming may have asked the next question
    placePane();
    // The browser tells of the closing some time after it: somebody may have gone on elsewhere.
    if (before?.isConnected && document.activeElement === document.body) focusAgain(before);
    onClose?.();
  });
  root.append(add(dialog, add(form, heading, ...body, buttons)));
  root.dataset.dialog = name;
  dialog.showModal();
  (dialog.querySelector('[autofocus], .wta-choice') ?? buttons.lastElementChild).focus();
  return close;
}

const isAsking = () => root.querySelector(':scope > .wta-dialog[open]') !== null;

function field(tag, name, text, value = '') {
  const input = make(tag, 'wta-input');
  input.id = id(name);
  input.value = value;
  input.setAttribute('autofocus', '');
  const caption = make('label', 'wta-field', text);
  caption.htmlFor = input.id;
  return { input, nodes: [caption, input] };
}

// The first tokens of some alerts, so that one sees what one is about to do it to.
function nameThem(ids) {
  const found = ids.map((each) => rows.get(each)?.alert).filter(Boolean);
  const names = found.slice(0, 6).map((alert) => `${alert.kind ? `${alert.kind.toUpperCase()} ` : ''}${alert.token || alert.title}`);
  const rest = ids.length - names.length;
  return make('p', 'wta-muted wta-them', names.join(', ') + (rest > 0 ? ` and ${rest} more` : ''));
}

// By the server's clock, and at the click: the question may stand open for long.
function tomorrow() {
  const now = new Date(serverNow());
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1, 9).getTime();
}
const SNOOZES = [
  ['15 minutes', () => serverNow() + 15 * 60e3],
  ['1 hour', () => serverNow() + 3600e3],
  ['4 hours', () => serverNow() + 4 * 3600e3],
  ['Tomorrow 9:00', tomorrow],
];

function showSnoozeTimes() {
  SNOOZES.forEach(([, until], index) => {
    const button = root.querySelector(`:scope > .wta-dialog #${CSS.escape(id(`snooze-${index + 1}`))}`);
    if (button) setText(button.lastElementChild, `until ${clock(until(), { seconds: false })}`);
  });
}
on('tick', showSnoozeTimes);

function askSnooze(ids, ticked = false) {
  if (state.role !== 'operator' || !ids.length || (!ticked && ids.length === 1 && isPending(ids[0]))) return;
  const only = ids.length === 1 ? (rows.get(ids[0])?.alert ?? state.detail) : null;
  if (only?.status === 'resolved') return;
  const choices = make('div', 'wta-choices');
  let close = null;
  const choice = (text, aside, until, name) => {
    const button = makeButton('wta-button wta-choice', undefined, () => {
      close();
      act('snooze', ids, { until: until(), ticked });
    }, name);
    choices.append(add(button, make('span', '', text), make('small', '', aside)));
  };
  SNOOZES.forEach(([text, until], index) => choice(text, '', until, `snooze-${index + 1}`));
  if (!only || isSnoozed(only)) choice('Wake now', 'no snooze', () => null, 'snooze-wake');
  choices.addEventListener('keydown', (event) => {
    const buttons = [...choices.children];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, j: at + 1, k: at - 1 }[event.key];
    const target = /^[1-5]$/.test(event.key) ? buttons[event.key - 1] : buttons[to];
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
      ...(ids.length > 1 ? [nameThem(ids)] : []),
      make('p', 'wta-muted', 'It leaves the tiles and comes back by itself; at once when its severity rises.'),
      choices,
    ],
  });
  showSnoozeTimes();
}

function askBulk(kind) {
  const ids = loaded.map((alert) => alert.id).filter((each) => state.checked.has(each));
  if (!ids.length || state.role !== 'operator') return;
  if (kind === 'snooze') {
    askSnooze(ids, true);
    return;
  }
  const count = plural(ids.length, 'alert');
  const body = [nameThem(ids)];
  let note = null;
  if (kind === 'resolve') {
    // What was written for these and could not be done is not written again.
    const before = ids.every((each) => state.bulkNote.ids.includes(each)) ? state.bulkNote.text : '';
    const { input, nodes } = field('textarea', 'dialog-note', 'How did it end? The note is kept with each of them.', before);
    note = input;
    note.rows = 3;
    note.maxLength = 2000;
    note.required = true;
    body.push(...nodes);
  }
  ask({
    name: kind,
    title: `${capital(kind)} ${count}?`,
    body,
    confirm: `${capital(kind)} ${count}`,
    onConfirm: () => {
      const words = note?.value.trim();
      if (note && !words) {
        note.focus();
        return false;
      }
      if (note) state.bulkNote = { text: words, ids };
      act(kind, ids, { note: words, ticked: true });
      return true;
    },
  });
}

// What will happen to the order, said before it is done.
function askOrder(kind) {
  const alert = state.detail;
  if (!alert?.order || alert.order.refused[kind] || state.role !== 'operator') return;
  const what = [alert.kind.toUpperCase(), 'order', alert.amount && `of ${alert.amount}`].filter(Boolean).join(' ');
  const isExit = alert.kind !== 'entry';
  const list = make('ul', 'wta-will');
  const will = (text) => list.append(make('li', '', text));
  const body = [make('p', 'wta-them', `${what} · ${alert.token} · now ${alert.order.status}`), list];
  let reason = null;
  if (kind === 'retry') {
    const stake = alert.simulated ? 'It is simulated: no funds are at risk.' : 'It trades real money.';
    will(`The order goes back to pending, and the bot tries it again at its next turn. ${stake}`);
    will('The count of attempts stays: if it fails once more, this alert counts it.');
    will('The alert stays open until the order is filled.');
  } else {
    will('The order becomes cancelled. That is final: the bot will never try it again.');
    will('The alert is resolved.');
    if (isExit) will(alert.simulated ? 'The simulated position stays open.' : 'The position stays open. Close it by hand.');
    const { input, nodes } = field('input', 'dialog-note', 'Reason', state.reasons.get(alert.id) ?? 'Manually cancelled');
    reason = input;
    reason.addEventListener('input', () => state.reasons.set(alert.id, reason.value));
    reason.maxLength = 500;
    body.push(...nodes);
  }
  ask({
    name: kind,
    title: kind === 'retry' ? 'Retry this order?' : 'Cancel this order?',
    body,
    confirm: kind === 'retry' ? 'Retry the order' : 'Cancel the order',
    refuse: kind === 'cancel' ? 'Keep the order' : 'Not now',
    danger: kind === 'cancel',
    onConfirm: () => act(kind, [alert.id], { note: reason?.value.trim() }),
  });
}

function askName(then) {
  const { input, nodes } = field('input', 'name', 'Your name', ownName());
  input.maxLength = 100;
  input.autocomplete = 'name';
  let named = false;
  ask({
    name: 'name',
    title: 'Who are you?',
    body: [make('p', 'wta-muted', 'The name is kept with what you do, and remembered in this browser.'), ...nodes],
    confirm: 'This is me',
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
    onClose: () => { if (named) then?.(); },
  });
}

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
    keys.append(add(make('dt'), ...names.map((name) => make('kbd', '', name))), make('dd', '', text));
  }
  ask({ name: 'help', title: 'Keys', body: [keys] });
}
