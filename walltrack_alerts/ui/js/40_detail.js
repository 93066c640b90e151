// ---- the detail pane: beside the list, or a sheet over it where there is no room ----

const pane = label(make('dialog', 'wta-pane'), 'Selected alert');
pane.id = id('detail');
const SHEET_BELOW = 900; // px of the panel itself: it may stand in a column of another app
const isSheet = () => root.clientWidth <= SHEET_BELOW;
let shown = null; // what the pane shows: { alertId, part, keys }

// A dialog that is modal as a sheet: what lies under it is out of reach for the keyboard and for screen readers.
function placePane() {
  if (isAsking()) return; // a sheet would cover the question
  const sheet = isSheet();
  // In a tab or on a page that is not shown: a modal dialog would lock what is around it.
  const hidden = root.clientWidth === 0 || root.dataset.view !== 'alerts';
  root.dataset.layout = sheet ? 'sheet' : 'beside';
  const wanted = !sheet ? 'beside' : hidden || state.selected === null ? 'closed' : 'sheet';
  if (pane.dataset.mode === wanted) return;
  const focused = pane.contains(document.activeElement) ? document.activeElement : null;
  pane.dataset.mode = wanted;
  if (pane.matches(':modal')) pane.close();
  pane.removeAttribute('open');
  if (wanted === 'sheet') pane.showModal();
  if (wanted === 'beside') {
    pane.setAttribute('open', '');
    pane.setAttribute('role', 'region');
  } else {
    pane.removeAttribute('role');
  }
  if (focused?.isConnected && wanted !== 'closed') focused.focus({ preventScroll: true });
}
pane.addEventListener('cancel', (event) => {
  event.preventDefault(); // the browser's own closing would know nothing of the address
  closeAlert();
});

function openAlert(alertId, { push = state.selected === null, remember = true } = {}) {
  if (state.selected !== alertId) {
    state.detail = null;
    reading.problem = '';
  }
  state.selected = alertId;
  if (rows.has(alertId)) state.current = alertId;
  markRows();
  if (remember) writeUrl({ push });
  showDetail();
  placePane();
  if (alertId !== null) readDetail();
}

function closeAlert() {
  const from = state.selected;
  openAlert(null, { push: false });
  (rows.get(from) ?? rows.get(state.current))?.button.focus({ preventScroll: true });
}

function newDetail(alertId) {
  const part = {
    chip: make('span', 'wta-chip'),
    status: make('span', 'wta-chip wta-chip-status'),
    since: make('span', 'wta-raised'),
    token: make('h3'),
    kind: make('span', 'wta-kind-tag'),
    simulated: make('i', 'wta-simulated', 'simulated'),
    title: make('p', 'wta-title'),
    message: make('p', 'wta-message'),
    ending: make('p', 'wta-ending'),
    trouble: make('p', 'wta-trouble'),
    links: make('p', 'wta-links'),
  };
  part.message.id = id('message');
  part.message.tabIndex = 0; // a long one scrolls
  const back = makeButton('wta-button wta-back', '← Alerts', () => closeAlert(), 'back');
  const close = label(makeButton('wta-icon wta-close', '×', () => closeAlert(), 'close'), 'Close the detail');
  const copy = makeButton('wta-button wta-quiet wta-copy', 'Copy link', () => {
    navigator.clipboard?.writeText(alertUrl(alertId)).then(() => setText(copy, 'Copied'), () => setText(copy, 'Not allowed'));
  }, 'copy');
  copy.hidden = !props.own_page || !navigator.clipboard;
  part.copy = copy;
  const body = make('div', 'wta-detail-body');
  body.tabIndex = -1;
  pane.replaceChildren(
    add(make('div', 'wta-detail-head'), back, part.chip, part.status, close, part.trouble),
    add(
      body,
      add(make('div', 'wta-name-line'), part.token, part.kind, part.simulated, part.since),
      part.title,
      part.message,
      part.ending,
      part.links,
      ...newFacts(part),
    ),
    newActions(alertId, part),
  );
  return { alertId, part, keys: {} };
}

// That the detail may be out of date; and what the banner says, which a sheet covers.
function showTrouble() {
  if (!shown) return;
  const words = reading.problem && `Not read again: ${reading.problem.replace(/\.$/, '')}. It may be out of date.`;
  setText(shown.part.trouble, isSheet() && !banner.hidden ? banner.textContent : words);
}
on('tick', showTrouble);

function newHint() {
  const keys = [['j', 'k', 'move'], ['Enter', 'open'], ['a', 'acknowledge'], ['r', 'resolve'], ['/', 'search'], ['?', 'all keys']];
  return add(
    make('div', 'wta-hint'),
    make('p', '', 'Select an alert to see what happened and to act on it.'),
    add(
      make('p', 'wta-hint-keys'),
      ...keys.map((each) => add(make('span'), ...each.slice(0, -1).map((key) => make('kbd', '', key)), ` ${each.at(-1)}`)),
    ),
  );
}

const isShown = (node) => node.getClientRects().length > 0;

// The focus goes back to where it was; when that is hidden now, as the buttons of what is resolved, it stays in the pane.
function focusAgain(node) {
  const to = !pane.contains(node) || isShown(node) ? node : pane.querySelector('.wta-detail-body');
  to?.focus({ preventScroll: true });
}

function showDetail() {
  pane.dataset.alertId = state.selected ?? '';
  if (state.selected === null) {
    if (shown || !pane.firstChild) pane.replaceChildren(newHint());
    shown = null;
    pane.dataset.status = '';
    return;
  }
  if (shown?.alertId !== state.selected) shown = newDetail(state.selected);
  const { part } = shown;
  const known = state.detail ?? rows.get(state.selected)?.alert ?? null;
  pane.dataset.status = state.detail === null ? 'loading' : state.detail.gone ? 'gone' : statusOf(wished(state.detail))[0];
  if (known?.gone) {
    setText(part.token, 'Gone');
    setText(part.message, 'This alert no longer exists.');
  } else if (known) {
    const alert = wished(known);
    const [status, by, acknowledged] = statusOf(alert);
    part.chip.dataset.severity = alert.severity;
    setText(part.chip, alert.severity);
    setText(part.status, STATUS[status]);
    part.status.dataset.status = status;
    if (!part.since.firstChild) add(part.since, 'raised ', age(alert.created, ' ago'));
    setText(part.token, alert.token || capital(alert.title));
    setText(part.kind, [alert.kind.toUpperCase(), alert.side].filter(Boolean).join(' · '));
    part.simulated.hidden = !alert.simulated;
    setText(part.title, alert.token ? alert.title : '');
    setText(part.message, alert.text ?? alert.message);
    const ended = alert.status === 'resolved' && alert.resolution !== undefined;
    const ending = ended ? `Resolved ${by}: ${alert.resolution}` : status === 'active' ? '' : `${capital(STATUS[status])} ${by}${acknowledged && `, acknowledged ${acknowledged}`}`;
    part.ending.hidden = !ending;
    part.ending.dataset.status = status;
    setText(part.ending, ending);
    if (state.detail) showFacts(state.detail);
  }
  showActions();
  const focused = document.activeElement;
  if (pane.contains(focused) && !isShown(focused)) focusAgain(focused);
}
