// Describes what will happen to an order, and asks before it is done.

import { make } from './dom.js';

/**
 * @typedef {import('./types.js').Detail} Detail
 * @typedef {import('./types.js').OrderAction} OrderAction
 */

/** @type {Record<OrderAction, { title: string, confirm: string, refuse: string }>} */
const TEXTS = {
  retry: { title: 'Retry this order?', confirm: 'Retry the order', refuse: 'Not now' },
  cancel: { title: 'Cancel this order?', confirm: 'Cancel the order', refuse: 'Keep the order' },
};

/**
 * What an action on an order brings about, one sentence or two per item.
 * @param {OrderAction} kind
 * @param {Pick<Detail, 'kind' | 'simulated'>} alert
 */
export function describeConsequences(kind, alert) {
  if (kind === 'retry') {
    const stake = alert.simulated ? 'It is simulated: no funds are at risk.' : 'It trades real money.';
    return [
      `The order goes back to pending, and the bot retries it at its next poll. ${stake}`,
      'The attempts stay counted. If the order fails again, this alert is updated.',
      'The alert stays open until the order is filled.',
    ];
  }
  const position = alert.simulated ? 'The simulated position stays open.' : 'The position stays open. Close it by hand.';
  const cancelled = ['The order is cancelled for good: the bot will never retry it.', 'The alert is resolved.'];
  return alert.kind === 'entry' ? cancelled : [...cancelled, position];
}

/**
 * @param {import('./types.js').Panel} panel
 * @param {import('./dialog.js').Dialog} dialog
 */
export function createOrderDialog(panel, { ask, newField }) {
  const { state } = panel;

  /** @param {Detail} alert */
  function newReason(alert) {
    const before = state.reasons.get(alert.id) ?? 'Manually cancelled';
    const { input, nodes } = newField(make('input', 'wta-input'), 'dialog-note', 'Reason', before);
    input.addEventListener('input', () => state.reasons.set(alert.id, input.value));
    input.maxLength = 500;
    return { input, nodes };
  }

  /** @param {OrderAction} kind */
  function askOrder(kind) {
    const alert = state.detail;
    if (!alert || alert.gone || !alert.order || alert.order.refusals[kind] || state.role !== 'operator') return;
    const what = [alert.kind.toUpperCase(), 'order', alert.amount && `of ${alert.amount}`].filter(Boolean).join(' ');
    const consequences = describeConsequences(kind, alert).map((text) => make('li', '', text));
    const reason = kind === 'cancel' ? newReason(alert) : null;
    ask({
      name: kind,
      ...TEXTS[kind],
      body: [
        make('p', 'wta-them', `${what} · ${alert.token} · now ${alert.order.status}`),
        make('ul', 'wta-will', ...consequences),
        ...(reason?.nodes ?? []),
      ],
      danger: kind === 'cancel',
      onConfirm: () => panel.actions.act(kind, [alert.id], { note: reason?.input.value.trim() }),
    });
  }

  return { askOrder };
}
