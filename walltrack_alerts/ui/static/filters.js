// The filter bar, whose state is kept in the address.

import { SEVERITIES } from './constants.js';
import { add, make, setText } from './dom.js';
import { CHOICES, isSameFilter, NO_FILTER, parseQuery, viewUrl } from './filter.js';
import { capital } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createFilters(panel) {
  const { state, id, makeButton, on, props, root } = panel;

  /** @typedef {keyof typeof CHOICES} Choice */
  const CHOICE_NAMES = /** @type {Choice[]} */ (Object.keys(CHOICES));
  const TITLES = { status: 'Status', type: 'Order type', simulated: 'Simulated' };

  const search = make('input', {
    className: 'wta-input wta-search',
    id: id('search'),
    type: 'search',
    maxLength: 200,
    placeholder: 'Search token, id, error …',
    autocomplete: 'off',
    spellcheck: false,
    ariaLabel: 'Search token, ids and error',
  });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let typing;
  search.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => changeFilter({ text: search.value.trim() }, { push: false }), 200);
  });

  /** @type {HTMLButtonElement[]} */
  const severityButtons = [];
  const severities = make('div', { className: 'wta-severities', ariaLabel: 'Severity', id: id('filter'), role: 'group' });
  for (const severity of SEVERITIES) {
    const button = makeButton(
      'wta-filter',
      undefined,
      () => {
        const chosen = new Set(state.filter.severities);
        if (!chosen.delete(severity)) chosen.add(severity);
        changeFilter({ severities: SEVERITIES.filter((each) => chosen.has(each)) });
      },
      `filter-${severity}`,
    );
    button.dataset.severity = severity;
    severityButtons.push(button);
    severities.append(add(button, make('span', '', capital(severity)), make('b')));
  }

  const selects = /** @type {Record<Choice, HTMLSelectElement>} */ ({});
  for (const name of CHOICE_NAMES) {
    const select = make(
      'select',
      { className: 'wta-input wta-select', id: id(`filter-${name}`), ariaLabel: TITLES[name] },
      ...CHOICES[name].map(([value, text]) => make('option', { value }, text)),
    );
    select.addEventListener('change', () => changeFilter({ [name]: select.value }));
    selects[name] = select;
  }
  const clearFilter = makeButton('wta-button wta-clear', 'Clear', () => showOnly({}), 'filter-clear');
  const moreFilters = makeButton(
    'wta-button wta-more-filters',
    'Filter',
    () => {
      const open = filterBar.dataset.open !== 'true';
      filterBar.dataset.open = String(open);
      moreFilters.setAttribute('aria-expanded', String(open));
    },
    'more-filters',
  );
  moreFilters.setAttribute('aria-expanded', 'false');

  const filterBar = make(
    'div',
    { className: 'wta-filters', ariaLabel: 'Filter', role: 'search' },
    search,
    moreFilters,
    make('div', 'wta-filter-rest', severities, ...Object.values(selects), clearFilter),
  );

  /** @param {Partial<import('./types.js').Filter>} change */
  function changeFilter(change, { push = true } = {}) {
    clearTimeout(typing);
    const wanted = { ...state.filter, text: search.value.trim(), ...change }; // with text being typed
    const same = isSameFilter(wanted, state.filter);
    state.filter = wanted;
    showFilter();
    writeUrl({ push }); // even when it is the same: a tile leads here from the charts
    if (!same) panel.reader.reloadList();
  }

  /**
   * A tile replaces the whole filter.
   * @param {Partial<import('./types.js').Filter>} filter
   */
  function showOnly(filter) {
    panel.frame.showPage('alerts');
    changeFilter({ ...NO_FILTER, ...filter });
  }

  function showFilter() {
    const { filter } = state;
    if (search.value.trim() !== filter.text) search.value = filter.text;
    for (const button of severityButtons) {
      button.setAttribute('aria-pressed', String(filter.severities.includes(button.dataset.severity ?? '')));
    }
    for (const name of CHOICE_NAMES) {
      selects[name].value = filter[name];
      selects[name].dataset.set = String(filter[name] !== NO_FILTER[name]);
    }
    const hidden = CHOICE_NAMES.filter((name) => filter[name] !== NO_FILTER[name]).length + Number(filter.severities.length > 0);
    setText(moreFilters, hidden ? `Filter · ${hidden}` : 'Filter');
    clearFilter.disabled = isSameFilter(filter, NO_FILTER);
  }

  on('summary', (counts) => {
    for (const button of severityButtons) {
      const count = counts.severities[button.dataset.severity ?? ''];
      setText(/** @type {Element} */ (button.lastElementChild), String(count));
      button.dataset.some = String(count > 0);
    }
  });

  /** Takes the filter from the address, where the page is the panel's own; returns what else the address asks for. */
  function readUrl() {
    if (!props.own_page) return { alert: null, view: 'alerts' };
    const { filter, alert, view } = parseQuery(new URL(location.href).searchParams);
    state.filter = filter;
    return { alert, view };
  }

  function writeUrl({ push = false } = {}) {
    if (!props.own_page) return;
    const url = viewUrl(location.href, { filter: state.filter, alert: state.selected, view: root.dataset.view });
    if (url === location.href) return;
    if (push) history.pushState(history.state, '', url);
    else history.replaceState(history.state, '', url);
  }

  function followUrl() {
    const before = state.filter;
    const asked = readUrl();
    panel.frame.showPage(asked.view);
    showFilter();
    if (!isSameFilter(before, state.filter)) panel.reader.reloadList();
    if (asked.alert !== state.selected) panel.detail.openAlert(asked.alert, { remember: false });
  }
  if (props.own_page) window.addEventListener('popstate', followUrl);
  on('closed', () => window.removeEventListener('popstate', followUrl));

  return { changeFilter, filterBar, readUrl, search, showFilter, showOnly, writeUrl };
}
