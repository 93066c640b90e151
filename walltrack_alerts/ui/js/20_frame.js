// ---- the fixed parts: head, banner, tiles, pages ----

const root = element.firstElementChild;
root.className = 'wta';
root.dataset.state = 'loading';
root.dataset.live = 'connecting';
const style = make('style');
style.textContent = props.style;

const live = make('span', 'wta-live', 'connecting');
live.id = id('live');

const banner = make('div', 'wta-banner');
banner.id = id('banner');
banner.setAttribute('role', 'alert');
banner.hidden = true;

// What is wrong with alerting itself; what to do is one click away.
const illness = make('details', 'wta-banner wta-illness');
illness.id = id('illness');
illness.hidden = true;
add(illness, make('summary'), make('ul'));

function showIllness(ill) {
  illness.hidden = ill.length === 0;
  root.dataset.ill = ill.length;
  showEmpty();
  if (!ill.length) return;
  const more = ill.length > 1 ? ` (and ${ill.length - 1} more)` : '';
  setText(illness.firstElementChild, `Alerting needs help: ${ill[0].found}${more}`);
  const key = JSON.stringify(ill);
  if (illness.dataset.key === key) return;
  illness.dataset.key = key;
  illness.lastElementChild.replaceChildren(
    ...ill.map(({ name, found, advice }) => {
      const item = add(make('li'), make('b', '', name), make('span', '', found));
      if (advice) item.append(make('span', 'wta-advice', advice));
      return item;
    }),
  );
}

function tile(name, text, short, onClick) {
  const node = onClick ? makeButton('wta-tile', undefined, onClick) : make('div', 'wta-tile');
  node.classList.add(`wta-tile-${name}`);
  node.id = id(name);
  const part = { node, number: make('b', '', '–'), aside: make('small') };
  add(node, part.number, add(make('span', 'wta-long', text), part.aside), make('span', 'wta-short', short));
  return part;
}

const tiles = {
  critical: tile('critical', 'critical open', 'critical', () => showOnly({ severities: ['critical'] })),
  unresolved: tile('unresolved', 'unresolved', 'unresolved', () => showOnly({})),
  waiting: tile('waiting', 'waiting for acknowledgement', 'waiting', () => showOnly({ status: 'active' })),
  median: tile('median', 'median time to acknowledge', 'median ack'),
};
tiles.median.node.title = 'Of the last 7 days';

on('summary', (counts) => {
  for (const name of ['critical', 'unresolved', 'waiting', 'acknowledged', 'snoozed']) root.dataset[name] = counts[name];
  for (const name of ['critical', 'unresolved', 'waiting']) {
    setText(tiles[name].number, String(counts[name]));
    tiles[name].node.dataset.some = counts[name] > 0;
  }
  setText(tiles.unresolved.aside, counts.snoozed ? ` + ${counts.snoozed} snoozed` : '');
  const known = counts.median !== null && counts.median !== undefined;
  setText(tiles.median.number, known ? duration(counts.median * 1000) : '–');
});

// The pages under the head; charts.js fills its own.
const pages = { alerts: make('div', 'wta-page'), charts: make('div', 'wta-page') };
const nav = label(make('nav', 'wta-nav'), 'Pages');
for (const name of Object.keys(pages)) {
  nav.append(makeButton('wta-nav-item', capital(name), () => showPage(name, { remember: true }), `nav-${name}`));
  pages[name].id = id(name === 'alerts' ? 'alerts-page' : name);
}

function showPage(name, { remember = false } = {}) {
  root.dataset.view = name;
  Object.keys(pages).forEach((each, index) => {
    pages[each].hidden = each !== name;
    if (each === name) nav.children[index].setAttribute('aria-current', 'page');
    else nav.children[index].removeAttribute('aria-current');
  });
  if (remember) writeUrl({ push: true });
  placePane();
  emit('view', name);
}

// Who acts; a name that nobody signed in for can be changed here.
const who = makeButton('wta-who', '', () => { if (state.user === '') askName(); }, 'who');
const logOut = makeButton('wta-who', 'Log out', () => location.assign(`${base}${state.logoutPath}`), 'logout');
logOut.hidden = true;
const helpButton = label(makeButton('wta-icon', '?', () => showHelp(), 'help-button'), 'Keys and help');

on('identity', () => {
  const name = ownName();
  root.dataset.role = state.role ?? '';
  root.dataset.user = name;
  who.disabled = state.user !== '';
  who.hidden = state.role === null || (state.role === 'reader' && !name);
  setText(who, state.role === 'reader' ? `${name} · read only` : name || 'Your name');
  logOut.hidden = !state.logoutPath;
  who.title = state.user === '' ? 'The name that is kept with what you do. Click to change it.' : 'Signed in';
});

const person = add(make('div', 'wta-person'), who, logOut);

// alarm.js puts its switch in here, left of the rest.
const tools = make('div', 'wta-tools');
const toast = make('div', 'wta-toast');
toast.id = id('toast');
toast.setAttribute('role', 'status');

// Words that lead to the login, which the page cannot do by itself.
function setWords(node, outcome, text) {
  if (outcome !== 'signed-out') setText(node, text);
  else if (!node.querySelector('a')) node.replaceChildren(`${text} `, reloadLink('Sign in again'));
}

function reloadLink(name) {
  const link = make('a', '', name);
  link.href = location.href;
  link.addEventListener('click', (event) => {
    event.preventDefault();
    location.reload();
  });
  return link;
}

let toastTimer = null;

// One line at the lower edge for what has no other place; it goes by itself.
function tell(outcome, text) {
  toast.dataset.outcome = outcome;
  const over = pane.matches(':modal') ? pane : root; // nothing else is seen above a sheet
  if (toast.parentElement !== over) over.append(toast);
  setWords(toast, outcome, text);
  clearTimeout(toastTimer);
  if (text) toastTimer = setTimeout(() => setText(toast, ''), outcome === 'done' ? THANKS_MS : 2 * THANKS_MS);
}

function readTheme() {
  // The panel's colours follow Gradio's, which puts .dark on an element around.
  root.dataset.theme = root.closest('.dark') ? 'dark' : 'light';
}
