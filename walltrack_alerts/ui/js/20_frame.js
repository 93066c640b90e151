// ---- the fixed parts ----

const root = element.firstElementChild;
root.className = 'wta';
root.dataset.state = 'loading';
const style = make('style');
style.textContent = props.style;

const live = make('span', 'wta-live', 'connecting');
live.id = id('live');
const banner = make('div', 'wta-banner');
banner.id = id('banner');
banner.setAttribute('role', 'alert');
banner.hidden = true;

function tile(name, label) {
  const node = make('div', `wta-tile wta-tile-${name}`);
  node.id = id(name);
  const number = make('b', '', '–');
  add(node, number, make('span', '', label));
  return { node, number };
}
const tiles = {
  critical: tile('critical', 'critical open'),
  unresolved: tile('unresolved', 'unresolved'),
  waiting: tile('waiting', 'waiting'),
  acknowledged: tile('acknowledged', 'acknowledged'),
};

const filters = make('div', 'wta-filters');
filters.id = id('filter');
filters.setAttribute('role', 'group');
filters.setAttribute('aria-label', 'Severity');
for (const severity of [null, ...SEVERITIES]) {
  const button = make('button', 'wta-filter');
  button.type = 'button';
  button.dataset.severity = severity ?? 'all';
  button.id = id(`filter-${severity ?? 'all'}`);
  add(button, make('span', '', severity ? severity[0].toUpperCase() + severity.slice(1) : 'All'), make('b', '', ''));
  button.addEventListener('click', () => {
    state.severity = severity;
    showFilter();
    poll();
  });
  filters.append(button);
}

const list = make('ol', 'wta-list');
list.id = id('list');
list.setAttribute('aria-label', 'Open alerts');
const empty = make('div', 'wta-empty');
empty.id = id('empty');
add(empty, make('span', 'wta-tick', '✓'), make('b', '', ''), make('span', '', 'New ones appear here by themselves.'));
empty.hidden = true;
const more = make('div', 'wta-more');
more.hidden = true;
const pane = make('section', 'wta-pane');
pane.id = id('detail');
pane.tabIndex = -1;
pane.setAttribute('aria-label', 'Selected alert');

const main = make('div', 'wta-main');

// The pages under the head; charts.js fills its own.
const pages = { alerts: make('div', 'wta-page'), charts: make('div', 'wta-page') };
const nav = make('nav', 'wta-nav');
nav.setAttribute('aria-label', 'Pages');
for (const name of Object.keys(pages)) {
  const button = make('button', 'wta-nav-item', name[0].toUpperCase() + name.slice(1));
  button.type = 'button';
  button.id = id(`nav-${name}`);
  button.addEventListener('click', () => showPage(name));
  pages[name].id = id(name === 'alerts' ? 'alerts-page' : name);
  nav.append(button);
}

function showPage(name) {
  root.dataset.view = name;
  for (const each of Object.keys(pages)) {
    pages[each].hidden = each !== name;
    const button = nav.querySelector(`#${CSS.escape(id(`nav-${each}`))}`);
    if (each === name) button.setAttribute('aria-current', 'page');
    else button.removeAttribute('aria-current');
  }
  emit('view', name);
}

// alarm.js puts its switch here, left of the live dot.
const tools = make('div', 'wta-tools');
add(
  root,
  style,
  add(make('header', 'wta-head'), nav, add(tools, live)),
  banner,
  add(make('div', 'wta-tiles'), ...Object.values(tiles).map((each) => each.node)),
  add(pages.alerts, filters, add(main, add(make('section', 'wta-card'), list, empty, more), pane)),
  pages.charts,
);

function fit() {
  // What stands above, in the app around or as a banner, takes from the height that is left in the window.
  main.style.setProperty('--wta-top', `${Math.round(main.getBoundingClientRect().top + window.scrollY)}px`);
}

// ---- the badge and the filter ----

function showCounts(counts) {
  for (const [name, each] of Object.entries(tiles)) {
    root.dataset[name] = counts[name];
    setText(each.number, String(counts[name]));
    each.node.dataset.some = counts[name] > 0;
  }
  for (const button of filters.children) {
    const severity = button.dataset.severity;
    setText(button.lastElementChild, String(severity === 'all' ? counts.unresolved : counts.severities[severity]));
  }
}

function showFilter() {
  for (const button of filters.children) {
    button.setAttribute('aria-pressed', String(button.dataset.severity === (state.severity ?? 'all')));
  }
}
