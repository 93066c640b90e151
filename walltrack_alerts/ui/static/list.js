// The list: one element per alert id, so that focus, scroll position and selection stay where they are.

import { comparePlaces } from './alerts.js';
import { make, setText } from './dom.js';
import { isSameFilter, NO_FILTER } from './filter.js';
import { createRows, markNew } from './row.js';

/** @typedef {import('./types.js').Alert} Alert */

/** @param {import('./types.js').Panel} panel */
export function createList(panel) {
  const { id, state, makeButton, root, on } = panel;
  const { newRow, showRow } = createRows(panel);

  const list = make('ol', { className: 'wta-list', ariaLabel: 'Alerts', id: id('list') });
  /** @type {Map<string, import('./row.js').Row>} by alert id */
  const rows = new Map();

  /** @param {string | null} alertId */
  const rowOf = (alertId) => (alertId === null ? undefined : rows.get(alertId));

  /** @param {Alert[]} alerts */
  function showList(alerts, { fresh = false } = {}) {
    const wanted = new Map(alerts.map((alert) => [alert.id, alert]));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const focusedId = list.contains(focused) ? focused?.closest('li')?.dataset.alertId : undefined;
    const before = state.loaded.findIndex((alert) => alert.id === state.current);
    const newest = Math.max(0, ...state.loaded.map((alert) => alert.created));
    for (const [alertId, row] of rows) {
      const stays = wanted.get(alertId);
      // A row that moves is removed first; the others then stay in place.
      if (!stays || comparePlaces(stays, row.alert) !== 0) row.item.remove();
      if (!stays) rows.delete(alertId);
    }
    let place = list.firstElementChild;
    for (const alert of alerts) {
      let row = rows.get(alert.id);
      if (!row) {
        row = newRow(alert);
        rows.set(alert.id, row);
        if (!fresh && alert.created > newest) markNew(row.item);
      }
      if (row.alert !== alert || row.key === '') showRow(row, alert);
      if (row.item === place) place = row.item.nextElementSibling;
      else list.insertBefore(row.item, place);
    }
    state.loaded = alerts;
    panel.selection.dropTicks();
    if (state.current === null || !wanted.has(state.current)) {
      // The next row takes its place: keys can work through the list.
      const following = state.loaded[Math.min(Math.max(before, 0), state.loaded.length - 1)]?.id ?? null;
      state.current = before < 0 && state.selected !== null && wanted.has(state.selected) ? state.selected : following;
    }
    markRows();
    if (focusedId !== undefined && focused !== document.activeElement) {
      // An element that moves loses the focus.
      if (wanted.has(focusedId)) focused?.focus({ preventScroll: true });
      else rowOf(state.current)?.button.focus({ preventScroll: true });
    }
    showEmpty();
    root.dataset.shown = String(state.loaded.length);
  }

  // Updates rows from an answer, before the list is read again.
  function refreshRows(alerts = state.loaded) {
    for (const alert of alerts) {
      const row = rows.get(alert.id);
      if (row) showRow(row, alert);
    }
  }

  function markRows() {
    root.dataset.selected = state.selected ?? '';
    for (const [alertId, row] of rows) {
      const current = alertId === state.current;
      if (alertId === state.selected) row.button.setAttribute('aria-current', 'true');
      else row.button.removeAttribute('aria-current');
      if (row.button.tabIndex !== (current ? 0 : -1)) row.button.tabIndex = row.check.tabIndex = current ? 0 : -1;
      row.item.toggleAttribute('data-current', current);
      row.item.toggleAttribute('data-checked', state.checked.has(alertId));
      row.check.checked = state.checked.has(alertId);
    }
  }

  /** @param {string} alertId */
  function makeCurrent(alertId) {
    if (state.current === alertId) return;
    state.current = alertId;
    markRows();
  }

  /**
   * Moves the current row, and the focus with it.
   * @param {number} by
   */
  function step(by) {
    if (!state.loaded.length) return;
    const at = state.loaded.findIndex((alert) => alert.id === state.current);
    const here = list.contains(document.activeElement) || state.selected === state.current;
    // The first press only shows the current row.
    const to = at < 0 ? 0 : Math.min(Math.max(at + (here ? by : 0), 0), state.loaded.length - 1);
    makeCurrent(state.loaded[to].id);
    const row = rowOf(state.current);
    row?.button.focus({ preventScroll: true });
    row?.item.scrollIntoView({ block: 'nearest' });
    if (state.selected !== null && !panel.detail.isSheet()) panel.detail.openAlert(state.loaded[to].id, { push: false });
    if (to >= state.loaded.length - 5) panel.reader.readMore();
  }

  // ---- around the rows ----

  const emptyTitle = make('b');
  const emptyText = make('span');
  const emptyClear = makeButton('wta-button', 'Clear the filter', () => panel.filters.showOnly({}));
  const empty = make(
    'div',
    { className: 'wta-empty', id: id('empty'), hidden: true },
    make('span', 'wta-tick', '✓'),
    emptyTitle,
    emptyText,
    emptyClear,
  );

  function showEmpty() {
    const filtered = !isSameFilter(state.filter, NO_FILTER);
    empty.hidden = state.loaded.length > 0 || state.next !== null || root.dataset.state === 'loading';
    empty.dataset.filtered = String(filtered);
    const only = state.filter.severities.length === 1 ? `${state.filter.severities[0]} ` : '';
    setText(emptyTitle, filtered ? `No ${only}alerts here` : 'No open alerts');
    const all = Number(root.dataset.failedChecks)
      ? 'But alerting itself has a problem, so some may be missing.'
      : 'New alerts appear here automatically.';
    setText(emptyText, filtered ? 'Nothing matches this filter.' : all);
    emptyClear.hidden = !filtered;
    more.hidden = state.next === null;
  }

  const more = make('div', { className: 'wta-more', id: id('more'), hidden: true }, 'Loading more …');
  const watcher = new IntersectionObserver(
    (seen) => {
      if (seen.some((each) => each.isIntersecting)) panel.reader.readMore();
    },
    { rootMargin: '600px 0px' },
  );
  watcher.observe(more);
  on('closed', () => watcher.disconnect());

  return { empty, list, makeCurrent, markRows, more, refreshRows, rowOf, showEmpty, showList, step, watcher };
}
