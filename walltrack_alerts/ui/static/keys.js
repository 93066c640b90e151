// Keyboard shortcuts. No shortcut acts while the user is typing.

/** @param {import('./types.js').Panel} panel */
export function createKeys(panel) {
  const { state, root, on, props } = panel;

  /** @param {HTMLElement} node */
  const isTyping = (node) => node.closest('textarea, select, [contenteditable], input:not([type=checkbox])') !== null;

  // The alert that a, r and s act on: the focused row, else the open one.
  const targetId = () =>
    (!panel.detail.isSheet() && panel.list.list.contains(document.activeElement) ? state.current : state.selected) ??
    state.current;

  /** @type {Record<string, () => void>} */
  const KEYS = {
    j: () => panel.list.step(1),
    k: () => panel.list.step(-1),
    a: () => {
      if (state.checked.size) panel.dialogs.askBulk('acknowledge');
      else if (!panel.actions.isPending(targetId() ?? '')) acknowledgeTarget();
    },
    r: () => {
      if (state.checked.size) panel.dialogs.askBulk('resolve');
      else writeNote(targetId());
    },
    s: () => {
      if (state.checked.size) panel.dialogs.askBulk('snooze');
      else panel.dialogs.askSnooze([targetId()].filter((each) => each !== null));
    },
    x: () => {
      if (state.current !== null && state.role === 'operator')
        panel.selection.tickRows(state.current, !state.checked.has(state.current));
    },
    '/': () => {
      panel.filters.search.focus();
      panel.filters.search.select();
    },
    '?': () => panel.dialogs.showHelp(),
  };

  function acknowledgeTarget() {
    const alert = panel.list.rowOf(targetId())?.alert ?? state.detail;
    if (alert && !alert.gone && alert.status === 'active') panel.actions.act('acknowledge', [alert.id]);
  }

  /** @param {string | null} alertId */
  function writeNote(alertId) {
    if (alertId === null || state.role !== 'operator') return;
    panel.detail.openAlert(alertId, { push: state.selected === null });
    if (state.shown && !state.shown.part.note.hidden) state.shown.part.note.focus();
  }

  function closeOrClear() {
    if (state.checked.size) panel.selection.untickAll();
    else if (state.selected !== null) panel.detail.closeAlert();
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || panel.dialogs.isAsking()) return;
    const node = /** @type {HTMLElement} */ (event.target instanceof Element ? event.target : document.body);
    if (!root.contains(node) && node !== document.body) return;
    if (isTyping(node)) {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      if (node === panel.filters.search && panel.filters.search.value) changeSearch('');
      else if (node === panel.filters.search) focusRow();
      else node.blur();
      return;
    }
    if (root.dataset.view !== 'alerts') {
      if (event.key === '?') panel.dialogs.showHelp();
      return;
    }
    const inPane = panel.detail.pane.contains(node);
    const arrow = inPane ? 0 : Number(event.key === 'ArrowDown') - Number(event.key === 'ArrowUp');
    if (arrow) panel.list.step(arrow);
    else if (event.key === 'Enter' && node === document.body && state.current !== null) panel.detail.openAlert(state.current);
    else if (event.key === 'Escape') closeOrClear();
    else if (KEYS[event.key]) KEYS[event.key]();
    else return;
    event.preventDefault();
  }

  /** @param {string} text */
  function changeSearch(text) {
    panel.filters.search.value = text;
    panel.filters.changeFilter({ text }, { push: false });
  }

  function focusRow() {
    const row = panel.list.rowOf(state.current) ?? panel.list.rowOf(state.loaded[0]?.id ?? null);
    if (row) row.button.focus();
    else panel.filters.search.blur();
  }
  panel.filters.search.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== 'ArrowDown') return;
    event.preventDefault();
    panel.filters.changeFilter({}, { push: false });
    if (root.dataset.reading === 'true')
      state.reading.enter = true; // the rows still belong to the previous list
    else focusRow();
  });
  on('list', () => {
    if (state.reading.enter && document.activeElement === panel.filters.search) focusRow();
    state.reading.enter = false;
  });

  // Inside another app the keys count only while the focus is in the panel.
  const keyScope = /** @type {HTMLElement} */ (props.own_page ? document : root);
  keyScope.addEventListener('keydown', onKey);
  on('closed', () => keyScope.removeEventListener('keydown', onKey));
}
