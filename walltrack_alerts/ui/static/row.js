// A row of the list.

import { describeSilence, statusOf, withPending } from './alerts.js';
import { NEW_MS, STATUS } from './constants.js';
import { add, label, make, setText } from './dom.js';
import { capital } from './format.js';

/**
 * @typedef {import('./types.js').Alert} Alert
 * @typedef {ReturnType<ReturnType<typeof createRows>['newRow']>} Row
 */

/** @param {import('./types.js').Panel} panel */
export function createRows(panel) {
  const { makeButton, serverNow, setAge, state } = panel;

  /** @param {Alert} alert */
  function newRow(alert) {
    const alertId = alert.id;
    const item = make('li');
    item.dataset.alertId = alertId;
    const check = make('input', { className: 'wta-tick-box', type: 'checkbox', tabIndex: -1 });
    check.addEventListener('click', (event) => {
      const isTicked = check.checked; // markRows() sets it back
      panel.list.makeCurrent(alertId);
      panel.selection.tickRows(alertId, isTicked, event.shiftKey);
    });
    const button = makeButton('wta-row', undefined, () => panel.detail.openAlert(alertId));
    button.tabIndex = -1;
    button.addEventListener('focus', () => panel.list.makeCurrent(alertId));
    const part = {
      chip: make('span', 'wta-chip'),
      kind: make('b'),
      side: make('small'),
      token: make('b'),
      address: make('small'),
      simulated: make('i', 'wta-simulated', 'simulated'),
      error: make('b'),
      message: make('small'),
      amount: make('span'),
      attempts: make('small'),
      status: make('span', 'wta-status'),
      by: make('small', 'wta-by'),
      acknowledged: make('small'),
      silenced: make('small', 'wta-silenced'),
      since: make('time', 'wta-since'),
    };
    add(
      button,
      part.chip,
      make('span', 'wta-kind', part.kind, part.side),
      make('span', 'wta-token', part.token, part.simulated, part.address),
      make('span', 'wta-what', part.error, part.message),
      make('span', 'wta-stake', part.amount, part.attempts),
      make('span', 'wta-state', part.status, part.by, part.acknowledged, part.silenced),
      part.since,
    );
    add(item, make('label', 'wta-check', check), button);
    return { item, button, check, part, alert, key: '' };
  }

  /**
   * @param {Row} row
   * @param {Alert} given
   */
  function showRow(row, given) {
    const alert = withPending(given, state.pending.values());
    const [status, by, acknowledged] = statusOf(alert, serverNow());
    const silence = describeSilence(alert, serverNow());
    const key = JSON.stringify([alert, status, silence]);
    row.alert = given;
    if (row.key === key) return;
    row.key = key;
    const { part } = row;
    row.item.dataset.severity = alert.severity;
    row.item.dataset.status = status;
    row.item.toggleAttribute('data-pending', alert.pending === true);
    part.chip.dataset.severity = alert.severity;
    setText(part.chip, alert.severity);
    setText(part.kind, alert.kind.toUpperCase());
    setText(part.side, alert.side);
    setText(part.token, alert.token || '—');
    setText(part.address, alert.address === alert.token || alert.simulated ? '' : alert.address);
    part.simulated.hidden = !alert.simulated;
    // Every order here has failed for good; the error is what the operator needs to know.
    setText(part.error, alert.error || alert.title);
    part.error.classList.toggle('wta-two', alert.error !== '');
    setText(part.message, alert.error || alert.message === alert.title ? '' : alert.message);
    setText(part.amount, alert.amount);
    const attempts = alert.attempts ? `${alert.attempts} attempts` : '';
    setText(part.attempts, attempts + (alert.occurrences > 1 ? `${attempts && ' · '}${alert.occurrences}×` : ''));
    setText(part.status, STATUS[status]);
    setText(part.by, by);
    setText(part.acknowledged, acknowledged && `ack. ${acknowledged}`);
    part.acknowledged.title = acknowledged && `Acknowledged ${acknowledged}`;
    setText(part.silenced, silence);
    part.silenced.title = silence && `${capital(silence)}: ${alert.silenced?.reason}`;
    setAge(part.since, alert.status === 'resolved' && alert.resolved ? alert.resolved : alert.created);
    label(row.check, `Select ${alert.severity} alert ${alert.token}`);
  }

  return { newRow, showRow };
}

/** @param {HTMLElement} item */
export function markNew(item) {
  item.classList.add('wta-new');
  setTimeout(() => item.classList.remove('wta-new'), NEW_MS);
}
