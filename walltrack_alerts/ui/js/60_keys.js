// ---- the keyboard: everything works with it alone, and no key does anything while somebody is typing ----

const inField = (node) => node.closest('textarea, select, [contenteditable], input:not([type=checkbox])') !== null;

// What a, r and s act on: where the focus is, else what is shown.
const target = () => (!isSheet() && list.contains(document.activeElement) ? state.current : state.selected) ?? state.current;

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  a: () => {
    if (state.checked.size) askBulk('acknowledge');
    else if (target() !== null && !isPending(target())) acknowledgeTarget();
  },
  r: () => {
    if (state.checked.size) askBulk('resolve');
    else if (target() !== null) writeNote(target());
  },
  s: () => {
    if (state.checked.size) askBulk('snooze');
    else if (target() !== null) askSnooze([target()]);
  },
  x: () => {
    if (state.current !== null && state.role === 'operator') tickRows(state.current, !state.checked.has(state.current));
  },
  '/': () => {
    search.focus();
    search.select();
  },
  '?': () => showHelp(),
};

function acknowledgeTarget() {
  const alert = rows.get(target())?.alert ?? state.detail;
  if (alert?.status === 'active') act('acknowledge', [alert.id]);
}

function writeNote(alertId) {
  if (state.role !== 'operator') return;
  openAlert(alertId, { push: state.selected === null });
  if (!shown.part.note.hidden) shown.part.note.focus();
}

function escape() {
  if (state.checked.size) untickAll();
  else if (state.selected !== null) closeAlert();
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isAsking()) return;
  const node = event.target instanceof Element ? event.target : document.body;
  if (!root.contains(node) && node !== document.body) return;
  if (inField(node)) {
    if (event.key !== 'Escape') return;
    event.preventDefault();
    if (node === search && search.value) changeSearch('');
    else if (node === search) focusRow();
    else node.blur();
    return;
  }
  if (root.dataset.view !== 'alerts') {
    if (event.key === '?') showHelp();
    return;
  }
  const inPane = pane.contains(node);
  const arrow = inPane ? undefined : { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (arrow) step(arrow);
  else if (event.key === 'Enter' && node === document.body && state.current !== null) openAlert(state.current);
  else if (event.key === 'Escape') escape();
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
}

function changeSearch(text) {
  search.value = text;
  changeFilter({ text }, { push: false });
}

function focusRow() {
  const row = rows.get(state.current) ?? rows.get(loaded[0]?.id);
  if (row) row.button.focus();
  else search.blur();
}
search.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
  event.preventDefault();
  changeFilter({}, { push: false });
  if (root.dataset.reading === 'true') reading.enter = true; // the rows are still those of the list before
  else focusRow();
});
on('list', () => {
  if (reading.enter && document.activeElement === search) focusRow();
  reading.enter = false;
});

// In another app its keys are its own: there they count while the focus is in the panel.
const keyScope = props.own_page ? document : root;
keyScope.addEventListener('keydown', onKey);
on('closed', () => keyScope.removeEventListener('keydown', onKey));
