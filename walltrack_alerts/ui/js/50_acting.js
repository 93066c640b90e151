// ---- acting: what was asked for shows at once, the database's answer makes it true or takes it back ----

function newActions(alertId, part) {
  part.note = make('textarea', 'wta-input');
  part.note.id = id('note');
  part.note.rows = 2;
  part.note.maxLength = 2000;
  part.note.placeholder = 'How did it end? A note is needed to resolve.';
  label(part.note, 'Resolution note');
  part.note.value = state.drafts.get(alertId) ?? '';
  part.note.addEventListener('input', () => {
    state.drafts.set(alertId, part.note.value);
    part.note.removeAttribute('aria-invalid');
    if (state.said.get(alertId)?.[0] === 'refused') say(alertId, '', '');
  });
  part.note.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) act('resolve', [alertId]);
  });
  part.acknowledge = makeButton('wta-button', 'Acknowledge', () => act('acknowledge', [alertId]), 'acknowledge');
  part.snooze = makeButton('wta-button', 'Snooze …', () => askSnooze([alertId]), 'snooze');
  part.snooze.setAttribute('aria-haspopup', 'dialog');
  part.resolve = makeButton('wta-button', 'Resolve', () => act('resolve', [alertId]), 'resolve');
  part.said = make('p', 'wta-said');
  part.said.id = id('said');
  part.said.setAttribute('role', 'status');
  part.readOnly = make('p', 'wta-muted', 'You can look, but not act: ask whoever runs this panel for the role of an operator.');
  part.readOnly.id = id('read-only');
  part.buttons = add(make('div', 'wta-buttons'), part.acknowledge, part.snooze, part.resolve);
  part.actions = make('div', 'wta-actions');
  return add(part.actions, part.said, part.note, part.buttons, part.readOnly);
}

const LATE = 'It was resolved meanwhile. Your note was not sent.';

const isPending = (alertId) => [...state.pending.values()].some((wish) => wish.ids.includes(alertId));

function showActions() {
  const { part, alertId } = shown;
  const known = state.detail ?? rows.get(alertId)?.alert ?? null;
  const alert = known && !known.gone ? wished(known) : null;
  const isOpen = alert !== null && alert.status !== 'resolved';
  const busy = isPending(alertId);
  const operator = state.role === 'operator';
  // Whoever is writing goes on: the keys would act on something else.
  const left = document.activeElement === part.note || Boolean(state.drafts.get(alertId)?.trim());
  const late = left && known !== null && !isOpen && !alert?.wish;
  const [outcome, text] = [state.said.get(alertId), late && ['late', LATE]].find((each) => each?.[1]) ?? ['', ''];
  part.said.dataset.outcome = outcome;
  part.said.hidden = !text;
  setWords(part.said, outcome, text);
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
  setText(part.snooze, alert && isSnoozed(alert) ? 'Snoozed …' : 'Snooze …');
}

function say(alertId, outcome, text) {
  state.said.set(alertId, [outcome, text]);
  if (shown?.alertId === alertId) showActions();
  else if (text) tell(outcome, [rows.get(alertId)?.alert.token, text].filter(Boolean).join(': '));
}

const DONE = {
  acknowledge: 'Acknowledged.',
  resolve: 'Resolved.',
  snooze: 'Snoozed.',
  wake: 'Awake again.',
  retry: 'The order is pending again: the bot will try it.',
  cancel: 'The order is cancelled.',
};

const NOT_SENT = "The panel's server cannot be reached. Nothing was sent.";
const SIGNED_OUT = 'You have been signed out. Nothing was sent.';
const AT_A_TIME = 100; // alerts in one request; the server has a deadline for all of them

const complain = (alone, outcome, text) => (alone ? say(alone, outcome, text) : tell(outcome, text));

// Ask for an action on alerts; its note, time or reason come in `more`, and whether it is about those that are ticked.
function act(kind, ids, more = {}) {
  if (!ids.length || state.role !== 'operator') return;
  const alone = ids.length === 1 ? ids[0] : null;
  let { note, ticked = false } = more;
  if (alone && !ticked && isPending(alone)) {
    say(alone, 'refused', 'Still waiting for the last answer. Nothing was sent.');
    return;
  }
  if (kind === 'resolve' && note === undefined && shown?.alertId === alone) {
    note = shown.part.note.value.trim();
    if (!note) {
      shown.part.note.setAttribute('aria-invalid', 'true');
      shown.part.note.focus();
      complain(alone, 'refused', 'Write a note first: how did it end?');
      return;
    }
  }
  if (state.user === '' && !ownName()) {
    askName(() => act(kind, ids, { ...more, note }));
    return;
  }
  if (line.state === 'signed-out') {
    complain(alone, 'signed-out', SIGNED_OUT);
    return;
  }
  if (root.dataset.state === 'offline') {
    complain(alone, 'failed', NOT_SENT);
    return;
  }
  const actor = ownName();
  if (root.dataset.user !== actor) emit('identity'); // it was given in another tab
  if (alone) say(alone, '', '');
  send({ kind, ids, actor, note, until: more.until, alone, ticked, count: ids.length, outcomes: [] });
}

// Only to a server that answers: Gradio would keep the click for later and load the page again, with all that is half-written.
// Of many the first ones; the answer to these sends the next ones, so that none of them waits too long for its own.
async function send(wish) {
  const { kind, ids, actor, note, until, alone, outcomes } = wish;
  const nonce = crypto.getRandomValues(new Uint32Array(4)).join('-');
  state.pending.set(nonce, wish);
  showWishes();
  const answer = await call('known', {});
  if (!element.isConnected) return;
  if (answer.offline) {
    const isSignedOut = (await checkLogin())?.status === 401;
    state.pending.delete(nonce);
    showWishes();
    const words = isSignedOut ? SIGNED_OUT : NOT_SENT;
    complain(alone, isSignedOut ? 'signed-out' : 'failed', outcomes.length ? words.replace('Nothing', 'Nothing more') : words);
    if (isSignedOut) signedOut();
    else showProblem(answer);
    return;
  }
  trigger(kind, { nonce, ids: ids.slice(0, AT_A_TIME), actor, note, until });
  setTimeout(() => {
    if (!state.pending.delete(nonce)) return;
    state.overdue.set(nonce, wish);
    showWishes();
    complain(alone, 'failed', "No answer from the panel's server. Look at the status before you try again.");
  }, PATIENCE_MS);
}

function showWishes() {
  root.dataset.pending = state.pending.size;
  refreshRows();
  if (shown) showDetail();
}

// Times in the database's words, in the page's own time zone.
const local = (text) => text.replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC/g, (_, day, time) => clock(Date.parse(`${day}T${time}Z`)));

function takeAnswer({ nonce, outcomes }) {
  for (const each of outcomes) {
    each.text = each.first ? `${each.first.by} was first: ${each.first.did} at ${clock(each.first.at)}.` : local(each.text);
  }
  const wish = state.pending.get(nonce) ?? state.overdue.get(nonce);
  // Whoever was refused would be again, whoever was told to look at the status does so, and so does who has no database.
  const goesOn = state.pending.has(nonce) && outcomes.some((each) => !['refused', 'signed-out'].includes(each.outcome) && !each.away);
  const rest = wish?.ids.slice(AT_A_TIME) ?? [];
  state.pending.delete(nonce);
  state.overdue.delete(nonce);
  reading.acted += 1;
  const fresh = outcomes.map((each) => each.alert).filter(Boolean);
  for (const alert of fresh) {
    const at = loaded.findIndex((each) => each.id === alert.id);
    if (at >= 0) loaded[at] = alert;
    if (state.detail?.id === alert.id) state.detail = { ...state.detail, ...alert, address: state.detail.address };
  }
  const written = { resolve: state.drafts, cancel: state.reasons }[wish?.kind];
  for (const each of outcomes) if (each.outcome === 'done') written?.delete(each.id);
  wish?.outcomes.push(...outcomes);
  if (rest.length && goesOn) send({ ...wish, ids: rest });
  else showWishes();
  if (wish) report(wish, rest.length > 0 && !goesOn);
  readList();
  reading.detailShown = reading.detail + 1; // what was asked for before the answer is older than it
  if (state.selected) readDetail();
}

function report(wish, isCutOff) {
  const { outcomes } = wish;
  const kind = wish.kind === 'snooze' && wish.until === null ? 'wake' : wish.kind;
  const settled = outcomes.filter((each) => ['done', 'late'].includes(each.outcome));
  if (wish.ticked) {
    if (kind === 'resolve' && settled.length === wish.count) state.bulkNote = { text: '', ids: [] };
    settled.forEach((each) => state.checked.delete(each.id));
    markRows();
    showBulk();
  }
  if (wish.alone) {
    const [{ outcome, text }] = outcomes;
    const words = outcome === 'done' ? [DONE[kind], text].filter(Boolean).join(' ') : text;
    say(wish.alone, outcome, words);
    if (outcome === 'done') setTimeout(() => {
      if (state.said.get(wish.alone)?.[1] === words) say(wish.alone, '', '');
    }, THANKS_MS);
    return;
  }
  const others = outcomes.filter((each) => each.outcome !== 'done');
  const done = outcomes.length - others.length;
  const [told] = [...others, ...outcomes].map((each) => each.text).filter(Boolean);
  const words = [`${DONE[kind].replace('.', '')}: ${done} of ${wish.count}.`, told, isCutOff && 'The rest was not sent.'];
  tell(others.length || isCutOff ? 'late' : 'done', words.filter(Boolean).join(' '));
}

watch('value', () => {
  const answer = JSON.parse(props.value || '{}');
  if (answer.outcomes) takeAnswer(answer);
  if (answer.role === 'nobody') signedOut();
  else if (answer.role) takeIdentity(answer);
});
