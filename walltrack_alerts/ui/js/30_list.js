// ---- the list: one element per alert id, so that focus, scroll and selection stay where they are ----

const list = label(make('ol', 'wta-list'), 'Alerts');
list.id = id('list');
const rows = new Map(); // alert id -> { item, button, check, part, alert, key }
let loaded = []; // the alerts in the list, in order
let next = null; // where the list goes on in the database; null when everything is here

function newRow(alertId) {
  const item = make('li');
  item.dataset.alertId = alertId;
  const check = make('input', 'wta-tick-box');
  check.type = 'checkbox';
  check.tabIndex = -1;
  check.addEventListener('click', (event) => {
    const isTicked = check.checked; // marking the rows sets it to what it was
    makeCurrent(alertId);
    tickRows(alertId, isTicked, event.shiftKey);
  });
  const button = makeButton('wta-row', undefined, () => openAlert(alertId));
  button.tabIndex = -1;
  button.addEventListener('focus', () => makeCurrent(alertId));
  const part = {
    chip: make('span', 'wta-chip'),
    kind: make('b'),
    side: make('small'),
    token: make('b'),
    address: make('small'),
    simulated: make('i', 'wta-simulated', 'simulated'),
    what: make('b'),
    more: make('small'),
    amount: make('span'),
    attempts: make('small'),
    status: make('span', 'wta-status'),
    by: make('small'),
    acknowledged: make('small'),
    since: make('time', 'wta-since'),
  };
  add(
    button,
    part.chip,
    add(make('span', 'wta-kind'), part.kind, part.side),
    add(make('span', 'wta-token'), part.token, part.simulated, part.address),
    add(make('span', 'wta-what'), part.what, part.more),
    add(make('span', 'wta-stake'), part.amount, part.attempts),
    add(make('span', 'wta-state'), part.status, part.by, part.acknowledged),
    part.since,
  );
  add(item, add(make('label', 'wta-check'), check), button);
  return { item, button, check, part, alert: null, key: '' };
}

// What the row says: what the person at this page has just asked for counts before the database has answered.
function wished(alert) {
  for (const wish of state.pending.values()) {
    if (!wish.ids.includes(alert.id)) continue;
    if (wish.kind === 'acknowledge') return { ...alert, status: 'acknowledged', by: wish.actor, wish: true };
    if (wish.kind === 'resolve') return { ...alert, status: 'resolved', by: wish.actor, wish: true };
    if (wish.kind === 'snooze') return { ...alert, snoozed: wish.until ?? null, wish: true };
    return { ...alert, wish: true };
  }
  return alert;
}

const isSnoozed = (alert) => alert.status !== 'resolved' && alert.snoozed !== null && alert.snoozed > serverNow();

// The status, until when or by whom it is so, and by whom one that is snoozed was acknowledged.
function statusOf(alert) {
  const by = alert.status !== 'active' && alert.by ? `by ${alert.by}` : '';
  if (!isSnoozed(alert)) return [alert.status, by, ''];
  return ['snoozed', `until ${clock(alert.snoozed, { seconds: false })}`, by];
}

function showRow(row, given) {
  const alert = wished(given);
  const [status, by, acknowledged] = statusOf(alert);
  const key = JSON.stringify([alert, status]);
  row.alert = given;
  if (row.key === key) return;
  row.key = key;
  const { part } = row;
  row.item.dataset.severity = alert.severity;
  row.item.dataset.status = status;
  row.item.toggleAttribute('data-pending', alert.wish === true);
  part.chip.dataset.severity = alert.severity;
  setText(part.chip, alert.severity);
  setText(part.kind, alert.kind.toUpperCase());
  setText(part.side, alert.side);
  setText(part.token, alert.token || '—');
  setText(part.address, alert.address === alert.token || alert.simulated ? '' : alert.address);
  part.simulated.hidden = !alert.simulated;
  // That an order has failed for good is why it is in the list; what went wrong is what one has to know.
  setText(part.what, alert.error || alert.title);
  part.what.classList.toggle('wta-two', alert.error !== '');
  setText(part.more, alert.error || alert.message === alert.title ? '' : alert.message);
  setText(part.amount, alert.amount);
  const attempts = alert.attempts ? `${alert.attempts} attempts` : '';
  setText(part.attempts, attempts + (alert.occurrences > 1 ? `${attempts && ' · '}${alert.occurrences}×` : ''));
  setText(part.status, STATUS[status]);
  setText(part.by, by);
  setText(part.acknowledged, acknowledged && `ack. ${acknowledged}`);
  part.acknowledged.title = acknowledged && `Acknowledged ${acknowledged}`;
  setAge(part.since, alert.status === 'resolved' && alert.resolved ? alert.resolved : alert.created);
  label(row.check, `Select ${alert.severity} alert ${alert.token}`);
}

const byPlace = (one, other) => {
  for (let index = 0; index < 3; index += 1) {
    if (one.place[index] !== other.place[index]) return one.place[index] - other.place[index];
  }
  const ids = one.id < other.id ? -1 : Number(one.id > other.id);
  return one.place[0] ? -ids : ids;
};

function markNew(item) {
  item.classList.add('wta-new');
  setTimeout(() => item.classList.remove('wta-new'), NEW_MS);
}

function showList(alerts, { fresh = false } = {}) {
  const wanted = new Map(alerts.map((alert) => [alert.id, alert]));
  const focused = document.activeElement;
  const focusedId = list.contains(focused) ? focused.closest('li').dataset.alertId : null;
  const before = loaded.findIndex((alert) => alert.id === state.current);
  const newest = Math.max(0, ...loaded.map((alert) => alert.created));
  for (const [alertId, row] of rows) {
    const stays = wanted.get(alertId);
    // One that goes elsewhere leaves first; the others then need not move.
    if (!stays || byPlace(stays, row.alert) !== 0) row.item.remove();
    if (!stays) rows.delete(alertId);
  }
  let place = list.firstElementChild;
  for (const alert of alerts) {
    let row = rows.get(alert.id);
    if (!row) {
      row = newRow(alert.id);
      rows.set(alert.id, row);
      if (!fresh && alert.created > newest) markNew(row.item);
    }
    if (row.alert !== alert) showRow(row, alert);
    if (row.item === place) place = place.nextElementSibling;
    else list.insertBefore(row.item, place);
  }
  loaded = alerts;
  dropTicks();
  if (!wanted.has(state.current)) {
    // The next one takes its place, for whoever works through the list with the keys.
    const following = loaded[Math.min(Math.max(before, 0), loaded.length - 1)]?.id ?? null;
    state.current = before < 0 && wanted.has(state.selected) ? state.selected : following;
  }
  markRows();
  if (focusedId !== null && focused !== document.activeElement) {
    // An element that moves loses the focus.
    if (wanted.has(focusedId)) focused.focus({ preventScroll: true });
    else rows.get(state.current)?.button.focus({ preventScroll: true });
  }
  showEmpty();
  root.dataset.shown = loaded.length;
}

// The first page as it is now, and those of the changed ids that belong in the list beyond it.
function mergeFirst(first, itsNext, changed, changedIds) {
  if (itsNext === null) {
    next = null;
    showList(first);
    return;
  }
  const last = first.at(-1); // none: what matches is rare, and begins beyond what one page looks through
  const end = loaded.at(-1);
  const gone = new Set(changedIds);
  const isBeyond = (alert) => !last || byPlace(alert, last) > 0;
  const kept = loaded.filter((alert) => isBeyond(alert) && !gone.has(alert.id));
  const came = changed.filter((alert) => isBeyond(alert) && (next === null || (end && byPlace(alert, end) <= 0)));
  const beyond = [...kept, ...came].sort(byPlace);
  if (!beyond.length) next = itsNext;
  showList([...first, ...beyond]);
}

function mergeMore(alerts, itsNext) {
  next = itsNext;
  const known = new Set(loaded.map((alert) => alert.id));
  showList([...loaded, ...alerts.filter((alert) => !known.has(alert.id))].sort(byPlace), { fresh: true });
}

// Rows that an answer has brought, before the list is read again.
function refreshRows(alerts = loaded) {
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

function makeCurrent(alertId) {
  if (state.current === alertId) return;
  state.current = alertId;
  markRows();
}

// By so many rows; the keys take the focus along.
function step(by) {
  if (!loaded.length) return;
  const at = loaded.findIndex((alert) => alert.id === state.current);
  const here = list.contains(document.activeElement) || state.selected === state.current;
  // The first press shows where one is.
  const to = at < 0 ? 0 : Math.min(Math.max(at + (here ? by : 0), 0), loaded.length - 1);
  makeCurrent(loaded[to].id);
  const { button, item } = rows.get(loaded[to].id);
  button.focus({ preventScroll: true });
  item.scrollIntoView({ block: 'nearest' });
  if (state.selected !== null && !isSheet()) openAlert(loaded[to].id, { push: false });
  if (to >= loaded.length - 5) readMore();
}

// ---- what stands around the rows ----

const empty = make('div', 'wta-empty');
empty.id = id('empty');
empty.hidden = true;
const emptyClear = makeButton('wta-button', 'Clear the filter', () => showOnly({}));
add(empty, make('span', 'wta-tick', '✓'), make('b'), make('span'), emptyClear);

function showEmpty() {
  const filtered = !sameFilter(state.filter, NO_FILTER);
  empty.hidden = loaded.length > 0 || next !== null || root.dataset.state === 'loading';
  empty.dataset.filtered = filtered;
  const only = state.filter.severities.length === 1 ? `${state.filter.severities[0]} ` : '';
  setText(empty.children[1], filtered ? `No ${only}alerts here` : 'No open alerts');
  const all = Number(root.dataset.ill) ? 'But alerting itself needs help: some may be missing.' : 'New ones appear here by themselves.';
  setText(empty.children[2], filtered ? 'Nothing matches this filter.' : all);
  emptyClear.hidden = !filtered;
  more.hidden = next === null;
}

const more = make('div', 'wta-more', 'Reading more …');
more.id = id('more');
more.hidden = true;
const watcher = new IntersectionObserver((seen) => {
  if (seen.some((each) => each.isIntersecting)) readMore();
}, { rootMargin: '600px 0px' });
watcher.observe(more);
on('closed', () => watcher.disconnect());
