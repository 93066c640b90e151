// ---- the filter, and the address that holds it ----

const NO_FILTER = { severities: [], status: 'open', type: '', simulated: '', text: '' };
const CHOICES = {
  status: [
    ['open', 'All open'],
    ['active', 'Waiting'],
    ['acknowledged', 'Acknowledged'],
    ['snoozed', 'Snoozed'],
    ['resolved', 'Resolved'],
    ['all', 'Open and resolved'],
  ],
  type: [['', 'Entry and exit'], ['exit', 'Exit'], ['entry', 'Entry']],
  simulated: [['', 'Real and simulated'], ['no', 'Real'], ['yes', 'Simulated']],
};
const TITLES = { status: 'Status', type: 'Order type', simulated: 'Simulated' };

state.filter = { ...NO_FILTER };

const search = make('input', 'wta-input wta-search');
search.id = id('search');
search.type = 'search';
search.maxLength = 200;
search.placeholder = 'Search token, id, error …';
search.autocomplete = 'off';
search.spellcheck = false;
label(search, 'Search token, ids and error');
let typing = null;
search.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => changeFilter({ text: search.value.trim() }, { push: false }), 200);
});

const severities = label(make('div', 'wta-severities'), 'Severity');
severities.id = id('filter');
severities.setAttribute('role', 'group');
for (const severity of SEVERITIES) {
  const button = makeButton('wta-filter', undefined, () => {
    const chosen = new Set(state.filter.severities);
    if (!chosen.delete(severity)) chosen.add(severity);
    changeFilter({ severities: SEVERITIES.filter((each) => chosen.has(each)) });
  }, `filter-${severity}`);
  button.dataset.severity = severity;
  severities.append(add(button, make('span', '', capital(severity)), make('b')));
}

const selects = {};
for (const [name, choices] of Object.entries(CHOICES)) {
  const select = make('select', 'wta-input wta-select');
  select.id = id(`filter-${name}`);
  label(select, TITLES[name]);
  for (const [value, text] of choices) {
    const option = make('option', '', text);
    option.value = value;
    select.append(option);
  }
  select.addEventListener('change', () => changeFilter({ [name]: select.value }));
  selects[name] = select;
}
const clearFilter = makeButton('wta-button wta-clear', 'Clear', () => showOnly({}), 'filter-clear');
const moreFilters = makeButton('wta-button wta-more-filters', 'Filter', () => {
  const open = filterBar.dataset.open !== 'true';
  filterBar.dataset.open = open;
  moreFilters.setAttribute('aria-expanded', String(open));
}, 'more-filters');
moreFilters.setAttribute('aria-expanded', 'false');

const filterBar = label(make('div', 'wta-filters'), 'Filter');
filterBar.setAttribute('role', 'search');
add(filterBar, search, moreFilters, add(make('div', 'wta-filter-rest'), severities, ...Object.values(selects), clearFilter));

const sameFilter = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function changeFilter(change, { push = true } = {}) {
  clearTimeout(typing);
  const wanted = { ...state.filter, text: search.value.trim(), ...change }; // with what is just being typed
  const same = sameFilter(wanted, state.filter);
  state.filter = wanted;
  showFilter();
  writeUrl({ push }); // also of the same: a tile leads here from the charts
  if (!same) startList();
}

// From a tile: this and nothing else.
function showOnly(filter) {
  showPage('alerts');
  changeFilter({ ...NO_FILTER, ...filter });
}

function showFilter() {
  const { filter } = state;
  if (search.value.trim() !== filter.text) search.value = filter.text;
  for (const button of severities.children) {
    button.setAttribute('aria-pressed', String(filter.severities.includes(button.dataset.severity)));
  }
  for (const [name, select] of Object.entries(selects)) {
    select.value = filter[name];
    select.dataset.set = filter[name] !== NO_FILTER[name];
  }
  const hidden = Object.keys(selects).filter((name) => filter[name] !== NO_FILTER[name]).length + (filter.severities.length > 0);
  setText(moreFilters, hidden ? `Filter · ${hidden}` : 'Filter');
  clearFilter.disabled = sameFilter(filter, NO_FILTER);
}

on('summary', (counts) => {
  for (const button of severities.children) {
    const count = counts.severities[button.dataset.severity];
    setText(button.lastElementChild, String(count));
    button.dataset.some = count > 0;
  }
});

// ---- the address: only where the page is the panel's own ----

const URL_NAMES = ['severity', 'status', 'type', 'simulated', 'q', 'alert', 'view'];
const isUuid = (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text ?? '');

function readUrl() {
  if (!props.own_page) return { alert: null, view: 'alerts' };
  const query = new URL(location.href).searchParams;
  const oneOf = (name) => {
    const value = query.get(name) ?? '';
    return CHOICES[name].some(([known]) => known === value) ? value : NO_FILTER[name];
  };
  const named = (query.get('severity') ?? '').split(',');
  state.filter = {
    severities: SEVERITIES.filter((severity) => named.includes(severity)),
    status: oneOf('status'),
    type: oneOf('type'),
    simulated: oneOf('simulated'),
    text: (query.get('q') ?? '').slice(0, 200).trim(),
  };
  const asked = query.get('alert');
  return { alert: isUuid(asked) ? asked.toLowerCase() : null, view: query.get('view') === 'charts' ? 'charts' : 'alerts' };
}

function alertUrl(alertId) {
  const url = new URL(location.href);
  for (const name of URL_NAMES) url.searchParams.delete(name);
  url.searchParams.set('alert', alertId);
  return url.href;
}

function writeUrl({ push = false } = {}) {
  if (!props.own_page) return;
  const url = new URL(location.href);
  const { filter } = state;
  const values = {
    severity: filter.severities.join(','),
    status: filter.status === NO_FILTER.status ? '' : filter.status,
    type: filter.type,
    simulated: filter.simulated,
    q: filter.text,
    alert: state.selected ?? '',
    view: root.dataset.view === 'charts' ? 'charts' : '',
  };
  for (const name of URL_NAMES) {
    if (values[name]) url.searchParams.set(name, values[name]);
    else url.searchParams.delete(name);
  }
  const there = url.href.replaceAll('%2C', ',');
  if (there === location.href) return;
  if (push) history.pushState(history.state, '', there);
  else history.replaceState(history.state, '', there);
}

function followUrl() {
  const before = state.filter;
  const asked = readUrl();
  showPage(asked.view);
  showFilter();
  if (!sameFilter(before, state.filter)) startList();
  if (asked.alert !== state.selected) openAlert(asked.alert, { remember: false });
}
if (props.own_page) window.addEventListener('popstate', followUrl);
on('closed', () => window.removeEventListener('popstate', followUrl));
