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
