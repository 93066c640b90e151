// The page script of the panel: the body of a function (element, trigger, props, server, upload, watch).
// Symbols, errors and names come from strangers: they are only ever placed as textContent or as data-* attributes.

const SEVERITIES = ['critical', 'high', 'warning', 'info'];
const STATUS = { active: 'waiting', acknowledged: 'acknowledged', resolved: 'resolved' };
const NAME_KEY = 'walltrack-alerts.name';
const PATIENCE_MS = 15000; // longer than the server waits for its database
const THANKS_MS = 6000;
const id = (name) => `${props.panel_id}-${name}`;

const state = {
  severity: null, // the filter; null shows all
  selected: null, // id of the alert in the detail pane
  detail: null, // what the server said last about it
  drafts: new Map(), // alert id -> half-written note
  said: new Map(), // alert id -> [outcome, text] of the last action
  scrollToDetail: false,
  pending: null, // the action on its way to the server
  user: null, // name the server acts under; '' when the page has to ask, null until it is known
  clockOffset: 0, // server's clock minus the page's, ms
  failingSince: null,
  asOf: Infinity, // server's time of the last snapshot, ms; what was raised later is new
};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function add(parent, ...children) {
  parent.append(...children);
  return parent;
}

function setText(node, text) {
  // Writing only what changed keeps a selection that somebody is making with the mouse.
  if (node.textContent !== text) node.textContent = text;
}

// ---- times ----

const serverNow = () => Date.now() + state.clockOffset;

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')}m`;
  return `${Math.floor(seconds / 86400)}d ${Math.floor((seconds % 86400) / 3600)}h`;
}

function clock(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const today = at.toDateString() === new Date().toDateString();
  return today ? time : `${at.toLocaleDateString([], { day: 'numeric', month: 'short' })} ${time}`;
}

function age(ms, suffix = '') {
  const node = make('time', 'wta-since');
  node.dataset.since = ms;
  node.dataset.suffix = suffix;
  node.title = new Date(ms).toLocaleString();
  return tick(node);
}

function tick(node) {
  setText(node, duration(serverNow() - Number(node.dataset.since)) + node.dataset.suffix);
  return node;
}

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
add(
  root,
  style,
  add(make('header', 'wta-head'), make('h2', '', 'Alerts'), live),
  banner,
  add(make('div', 'wta-tiles'), ...Object.values(tiles).map((each) => each.node)),
  filters,
  add(main, add(make('section', 'wta-card'), list, empty, more), pane),
);

function fit() {
  // What stands above, in the app around or as a banner, takes from the height that is left in the window.
  main.style.setProperty('--wta-top', `${Math.round(main.getBoundingClientRect().top + window.scrollY)}px`);
}

// ---- the list: one element per alert id, so that focus, scroll and selection stay where they are ----

const rows = new Map();

function newRow(alert) {
  const item = make('li');
  item.dataset.alertId = alert.id;
  const button = make('button', 'wta-row');
  button.type = 'button';
  const part = {
    chip: make('span', 'wta-chip'),
    token: make('b'),
    address: make('small'),
    simulated: make('i', 'wta-simulated', 'simulated'),
    title: make('b'),
    text: make('small'),
    status: make('span'),
    attempts: make('small'),
  };
  add(
    button,
    part.chip,
    add(make('span', 'wta-token'), part.token, part.simulated, part.address),
    add(make('span', 'wta-what'), part.title, part.text),
    add(make('span', 'wta-state'), part.status, part.attempts),
    age(alert.created),
  );
  button.addEventListener('click', () => select(alert.id));
  item.append(button);
  return { item, button, part };
}

function showRow(row, alert) {
  row.item.dataset.severity = alert.severity;
  row.item.dataset.status = alert.status;
  row.part.chip.dataset.severity = alert.severity;
  setText(row.part.chip, alert.severity);
  setText(row.part.token, alert.token || '—');
  setText(row.part.address, alert.address === alert.token || alert.simulated ? '' : alert.address);
  row.part.simulated.hidden = !alert.simulated;
  setText(row.part.title, alert.title);
  setText(row.part.text, alert.text);
  const attempts = alert.attempts ? `${alert.attempts} attempts` : '';
  setText(row.part.attempts, attempts + (alert.occurrences > 1 ? `${attempts && ' · '}${alert.occurrences}×` : ''));
  setText(row.part.status, STATUS[alert.status] + (alert.by ? ` · ${alert.by}` : ''));
}

function showList(alerts) {
  const wanted = new Set(alerts.map((alert) => alert.id));
  const focused = document.activeElement;
  for (const [alertId, row] of rows) {
    if (!wanted.has(alertId)) {
      row.item.remove();
      rows.delete(alertId);
    }
  }
  let place = list.firstElementChild;
  for (const alert of alerts) {
    let row = rows.get(alert.id);
    if (!row) {
      row = newRow(alert);
      rows.set(alert.id, row);
      if (alert.created > state.asOf) row.item.classList.add('wta-new');
    }
    showRow(row, alert);
    if (row.item === place) place = place.nextElementSibling;
    else list.insertBefore(row.item, place);
  }
  // An element that moves loses the focus.
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
  markSelected();
}

function markSelected() {
  root.dataset.selected = state.selected ?? '';
  for (const [alertId, row] of rows) {
    if (alertId === state.selected) row.button.setAttribute('aria-current', 'true');
    else row.button.removeAttribute('aria-current');
  }
}

list.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
  const next = step && document.activeElement.closest('li')?.[step];
  if (next) {
    event.preventDefault();
    next.firstElementChild.focus();
  }
});

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

// ---- the detail pane: built again for another alert, updated in place for the same one ----

let shown = null;

function select(alertId) {
  state.selected = alertId;
  if (state.detail?.id !== alertId) state.detail = null;
  markSelected();
  state.scrollToDetail = true;
  showDetail();
  poll();
}

function scrollToDetail() {
  // Only where the pane stands below the list, and not before it has the height it needs.
  state.scrollToDetail = false;
  if (getComputedStyle(pane).getPropertyValue('--wta-stacked').trim() === '1') {
    pane.scrollIntoView({ behavior: 'smooth', block: 'start' });
  }
}

function newDetail(alertId) {
  const part = {
    chip: make('span', 'wta-chip'),
    status: make('span', 'wta-chip wta-chip-status'),
    since: make('span', 'wta-muted'),
    token: make('h3'),
    title: make('b', 'wta-title'),
    message: make('p', 'wta-message'),
    ending: make('p', 'wta-ending'),
    facts: make('dl'),
    events: make('ol', 'wta-events'),
    name: make('input', 'wta-input'),
    nameLine: make('label', 'wta-name', 'Your name'),
    note: make('textarea', 'wta-input'),
    acknowledge: make('button', 'wta-button', 'Acknowledge'),
    resolve: make('button', 'wta-button', 'Resolve'),
    said: make('p', 'wta-said'),
    actions: make('div', 'wta-actions'),
  };
  const back = make('button', 'wta-button wta-back', '↑ List');
  back.type = 'button';
  back.addEventListener('click', () => {
    root.scrollIntoView({ behavior: 'smooth', block: 'start' });
    rows.get(alertId)?.button.focus({ preventScroll: true });
  });

  part.message.id = id('message');
  part.facts.id = id('facts');
  part.events.id = id('events');
  part.name.id = id('name');
  part.name.maxLength = 100;
  part.name.autocomplete = 'name';
  part.name.value = storedName();
  part.name.addEventListener('input', () => {
    storeName(part.name.value.trim());
    showActions();
  });
  part.nameLine.htmlFor = part.name.id;
  part.note.id = id('note');
  part.note.rows = 2;
  part.note.maxLength = 2000;
  part.note.placeholder = 'How did it end? A note is needed to resolve.';
  part.note.setAttribute('aria-label', 'Resolution note');
  part.note.value = state.drafts.get(alertId) ?? '';
  part.note.addEventListener('input', () => {
    state.drafts.set(alertId, part.note.value);
    part.note.removeAttribute('aria-invalid');
    if (state.said.get(alertId)?.[0] === 'refused') say(alertId, '', '');
  });
  for (const kind of ['acknowledge', 'resolve']) {
    part[kind].id = id(kind);
    part[kind].type = 'button';
    part[kind].addEventListener('click', () => act(kind));
  }
  part.said.id = id('said');
  part.said.setAttribute('role', 'status');

  add(
    part.actions,
    add(make('div', 'wta-name-line'), part.nameLine, part.name),
    part.note,
    part.said,
    add(make('div', 'wta-buttons'), part.acknowledge, part.resolve),
  );
  pane.replaceChildren(
    add(make('div', 'wta-detail-head'), part.chip, part.status, part.since, back),
    add(
      make('div', 'wta-detail-body'),
      part.token,
      part.title,
      part.message,
      part.ending,
      make('h4', '', 'Facts'),
      part.facts,
      make('h4', '', 'Timeline'),
      part.events,
    ),
    part.actions,
  );
  return { alertId, part, facts: '', events: '' };
}

function showDetail() {
  if (state.selected === null) {
    shown = null;
    pane.replaceChildren(make('p', 'wta-hint', 'Select an alert to see what happened and to act on it.'));
    return;
  }
  if (shown?.alertId !== state.selected) {
    shown = newDetail(state.selected);
    pane.scrollTop = 0;
  }
  const alert = state.detail;
  const { part } = shown;
  pane.dataset.alertId = state.selected;
  pane.dataset.status = alert?.status ?? (alert?.gone ? 'gone' : 'loading');
  if (alert?.gone) {
    setText(part.message, 'This alert no longer exists.');
  } else if (alert) {
    part.chip.dataset.severity = alert.severity;
    setText(part.chip, alert.severity);
    setText(part.status, STATUS[alert.status]);
    if (!part.since.firstChild) add(part.since, 'raised ', age(alert.created, ' ago'));
    setText(part.token, alert.token || '—');
    setText(part.title, alert.title);
    setText(part.message, alert.message);
    part.ending.hidden = alert.status !== 'resolved';
    setText(part.ending, alert.status === 'resolved' ? `Resolved by ${alert.by}: ${alert.resolution}` : '');
    showFacts(alert);
    showEvents(alert);
  }
  showActions();
  if (alert && state.scrollToDetail) scrollToDetail();
}

function showFacts(alert) {
  const key = JSON.stringify(alert.facts);
  if (shown.facts === key) return;
  shown.facts = key;
  shown.part.facts.replaceChildren(
    ...alert.facts.flatMap(([label, text]) => [make('dt', '', label), make('dd', '', text)]),
  );
}

function showEvents(alert) {
  const key = JSON.stringify(alert.events);
  if (shown.events === key) return;
  shown.events = key;
  shown.part.events.replaceChildren(
    ...alert.events.map((event) => {
      const item = make('li');
      item.dataset.kind = event.kind;
      const when = make('time', 'wta-muted', `${clock(event.at)} · `);
      add(item, add(make('span'), make('b', '', event.kind), ' by ', make('span', 'wta-actor', event.actor)));
      add(item, add(when, age(event.at, ' ago')));
      if (event.text) item.append(make('small', '', event.text));
      return item;
    }),
  );
}

function showActions() {
  const { part, alertId } = shown;
  const alert = state.detail;
  const open = alert?.status === 'active' || alert?.status === 'acknowledged';
  const busy = state.pending !== null;
  part.actions.hidden = alert !== null && !open && !state.said.has(alertId);
  part.nameLine.parentElement.hidden = !open || state.user !== '';
  part.note.hidden = part.acknowledge.parentElement.hidden = alert !== null && !open;
  part.acknowledge.disabled = busy || alert?.status !== 'active';
  part.resolve.disabled = busy || !open;
  part.acknowledge.classList.toggle('wta-primary', alert?.status !== 'acknowledged');
  part.resolve.classList.toggle('wta-primary', alert?.status === 'acknowledged');
  setText(part.acknowledge, alert?.status === 'acknowledged' ? 'Acknowledged' : 'Acknowledge');
  const [outcome, text] = state.said.get(alertId) ?? ['', ''];
  part.said.dataset.outcome = outcome;
  part.said.hidden = !text;
  setText(part.said, text);
}

// ---- acting ----

function storedName() {
  try {
    return localStorage.getItem(NAME_KEY) ?? '';
  } catch {
    return ''; // storage is forbidden in this browser
  }
}

function storeName(name) {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // The field itself still holds it.
  }
}

function say(alertId, outcome, text) {
  state.said.set(alertId, [outcome, text]);
  if (shown?.alertId === alertId) showActions();
}

function act(kind) {
  const alertId = shown.alertId;
  const { note, name } = shown.part;
  if (kind === 'resolve' && !note.value.trim()) {
    note.setAttribute('aria-invalid', 'true');
    note.focus();
    say(alertId, 'refused', 'Write a note first: how did it end?');
    return;
  }
  if (state.user === '' && !name.value.trim()) {
    name.focus();
    say(alertId, 'refused', 'Say who you are first: the name is kept with what you do.');
    return;
  }
  if (root.dataset.state === 'offline') {
    // Gradio would keep the click for later and reload the page.
    say(alertId, 'failed', "The panel's server cannot be reached. Nothing was sent.");
    return;
  }
  const nonce = crypto.getRandomValues(new Uint32Array(4)).join('-');
  state.pending = { nonce, kind };
  say(alertId, '', '');
  const asked = { nonce, alert_id: alertId, actor: name.value.trim(), note: note.value.trim() };
  if (kind === 'resolve') trigger('resolve', asked);
  else trigger('acknowledge', asked);
  setTimeout(() => {
    if (state.pending?.nonce !== nonce) return;
    state.pending = null;
    say(alertId, 'failed', "No answer from the panel's server. Look at the status before you try again.");
  }, PATIENCE_MS);
}

watch('value', () => {
  const answer = JSON.parse(props.value);
  if (answer.user !== undefined) {
    state.user = answer.user;
    if (shown) showActions();
    return;
  }
  const done = answer.outcome === 'done';
  if (state.pending?.nonce === answer.nonce) {
    if (done && state.pending.kind === 'resolve') state.drafts.delete(answer.alert_id);
    state.pending = null;
  }
  say(answer.alert_id, answer.outcome, answer.text);
  if (done) setTimeout(() => say(answer.alert_id, '', ''), THANKS_MS);
  poll();
});

// ---- reading ----

let timer = null;
let asking = false;
let askAgain = false;

async function poll() {
  if (asking) {
    askAgain = true; // something was clicked meanwhile
    return;
  }
  clearTimeout(timer);
  asking = true;
  const asked = { severity: state.severity, selected: state.selected };
  let answer;
  try {
    answer = await Promise.race([
      server.snapshot(asked),
      new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS); }),
    ]);
  } catch {
    // Gradio's client answers undefined instead; below both are the same.
  }
  answer ??= { problem: "The panel's server cannot be reached", offline: true };
  asking = false;
  if (!element.isConnected) return;
  if (answer.problem) showProblem(answer);
  else if (asked.severity === state.severity) showSnapshot(answer, asked.selected);
  const soon = askAgain;
  askAgain = false;
  timer = setTimeout(poll, soon ? 0 : props.refresh_ms);
}

function showSnapshot(answer, selected) {
  state.clockOffset = answer.now - Date.now();
  state.failingSince = null;
  banner.hidden = true;
  showCounts(answer.counts);
  showList(answer.alerts);
  if (selected === state.selected) {
    state.detail = answer.selected;
    showDetail();
  }
  const total = state.severity ? answer.counts.severities[state.severity] : answer.counts.unresolved;
  empty.hidden = answer.alerts.length > 0;
  setText(empty.children[1], state.severity ? `No open ${state.severity} alerts` : 'No open alerts');
  more.hidden = total <= answer.alerts.length;
  setText(more, `The first ${answer.alerts.length} of ${total}; filter by severity to see others.`);
  state.asOf = answer.now;
  root.dataset.filter = state.severity ?? 'all';
  root.dataset.shown = answer.alerts.length;
  root.dataset.state = 'live';
  setText(live, 'live');
  fit();
}

function showProblem({ problem, unreachable, offline }) {
  state.failingSince ??= Date.now();
  const what = unreachable ? 'Database unreachable' : problem.replace(/\.$/, '');
  const hint = offline ? ' If this lasts, reload the page.' : '';
  setText(banner, `${what} since ${clock(state.failingSince)}, retrying. What you see may be out of date.${hint}`);
  banner.hidden = false;
  root.dataset.state = unreachable ? 'database-unreachable' : offline ? 'offline' : 'problem';
  setText(live, 'not live');
  fit();
}

const wakeUp = () => {
  if (!document.hidden) poll(); // timers sleep in hidden tabs
};
document.addEventListener('visibilitychange', wakeUp);
const ticking = setInterval(() => {
  if (!element.isConnected) {
    clearInterval(ticking);
    document.removeEventListener('visibilitychange', wakeUp);
    return;
  }
  root.querySelectorAll('.wta-since').forEach(tick);
  fit();
}, 1000);

showFilter();
showDetail();
trigger('identify');
poll();
