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
