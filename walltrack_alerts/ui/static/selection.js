// Selected rows, and bulk actions.

import { make, setText } from './dom.js';
import { capital } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createSelection(panel) {
  const { state, id, makeButton, root, on } = panel;

  /** @type {string | null} */
  let lastTicked = null;

  /**
   * @param {string} alertId
   * @param {boolean} ticked
   */
  function tickRows(alertId, ticked, through = false) {
    let ids = [alertId];
    if (through && lastTicked !== null) {
      const ends = [lastTicked, alertId].map((each) => state.loaded.findIndex((alert) => alert.id === each));
      if (!ends.includes(-1)) ids = state.loaded.slice(Math.min(...ends), Math.max(...ends) + 1).map((alert) => alert.id);
    }
    for (const each of ids) {
      if (ticked) state.checked.add(each);
      else state.checked.delete(each);
    }
    lastTicked = alertId;
    panel.list.markRows();
    showBulk();
  }

  function dropTicks() {
    const before = state.checked.size;
    for (const alertId of state.checked) if (!panel.list.rowOf(alertId)) state.checked.delete(alertId);
    if (before) showBulk();
  }

  function untickAll() {
    state.checked.clear();
    panel.list.markRows();
    showBulk();
  }

  const checkAll = make('input', {
    className: 'wta-tick-box',
    ariaLabel: 'Select all alerts of the list',
    type: 'checkbox',
    id: id('check-all'),
  });
  checkAll.addEventListener('click', () => {
    const all = checkAll.checked;
    state.checked = new Set(all ? state.loaded.map((alert) => alert.id) : []);
    panel.list.markRows();
    showBulk();
  });

  const columns = make(
    'span',
    { className: 'wta-columns', ariaHidden: 'true' },
    ...['Severity', 'Order', 'Token', 'What happened', 'At stake', 'Status', 'Age'].map((text) => make('span', '', text)),
  );

  const ticked = make('b');
  const bulkActions = /** @type {const} */ (['acknowledge', 'snooze', 'resolve']).map((kind) =>
    makeButton(
      'wta-button',
      kind === 'acknowledge' ? 'Acknowledge …' : `${capital(kind)} …`,
      () => panel.dialogs.askBulk(kind),
      `bulk-${kind}`,
    ),
  );
  const bulkBar = make(
    'div',
    { className: 'wta-bulk', id: id('bulk'), role: 'toolbar', ariaLabel: 'Selected alerts' },
    ticked,
    ...bulkActions,
    makeButton('wta-button wta-quiet', 'Clear', () => untickAll(), 'bulk-clear'),
  );

  const listHead = make('div', 'wta-list-head', make('label', 'wta-check', checkAll), columns, bulkBar);

  function showBulk() {
    const count = state.checked.size;
    root.dataset.checked = String(count);
    bulkBar.hidden = count === 0;
    columns.hidden = count > 0;
    setText(ticked, `${count} selected`);
    checkAll.checked = count > 0 && count === state.loaded.length;
    checkAll.indeterminate = count > 0 && count < state.loaded.length;
  }
  on('identity', () => {
    if (state.role === 'reader') untickAll();
  });

  return { dropTicks, listHead, showBulk, tickRows, untickAll };
}
