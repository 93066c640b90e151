// The parts of the detail: the order now, the timeline, the facts, the context.

import { describeDelivery } from './deliveries.js';
import { add, disable, make, setText } from './dom.js';
import { capital, clock, localizeTimes } from './format.js';

/**
 * @typedef {import('./types.js').Detail} Detail
 * @typedef {import('./types.js').FactParts} FactParts
 * @typedef {import('./types.js').ShownDetail} ShownDetail
 * @typedef {import('./types.js').TimelineEntry} TimelineEntry
 */

/** @param {import('./types.js').Panel} panel */
export function createFacts(panel) {
  const { makeButton, id, state, age, props } = panel;

  const BASE58 = /^[1-9A-HJ-NP-Za-km-z]{32,88}$/;
  const PLACEHOLDER = /\{\w+\}/;
  const NO_ORDER = 'The order no longer exists, or this alert is not about an order.';

  /** @param {import('./dom.js').Properties<'pre'>} properties */
  const newJson = (properties) => make('pre', { className: 'wta-json', tabIndex: 0, role: 'region', ...properties });

  /** @returns {{ nodes: Node[], part: FactParts }} */
  function newFacts() {
    /** @param {string} text */
    const heading = (text) => make('h4', '', text);
    const orderJson = newJson({ ariaLabel: 'Row of the order as JSON' });
    const part = {
      order: make('section', { className: 'wta-order', id: id('order'), hidden: true }), // until it is known
      orderStatus: make('span', 'wta-chip wta-chip-order'),
      orderNote: make('p', 'wta-muted'),
      orderFacts: make('dl'),
      orderRow: make('details', 'wta-context', make('summary', '', 'The whole row'), orderJson),
      orderJson,
      orderButtons: make('div', 'wta-order-buttons'),
      orderWhy: make('p', 'wta-muted'),
      retry: makeButton('wta-button', 'Retry order …', () => panel.dialogs.askOrder('retry'), 'retry'),
      cancel: makeButton('wta-button wta-danger', 'Cancel order …', () => panel.dialogs.askOrder('cancel'), 'cancel'),
      events: make('ol', { className: 'wta-events', id: id('events') }),
      facts: make('dl', { id: id('facts') }),
      json: newJson({ ariaLabel: 'Context as JSON', id: id('json') }),
    };
    add(
      part.order,
      make('div', 'wta-order-head', heading('Order now'), part.orderStatus),
      part.orderNote,
      part.orderFacts,
      part.orderRow,
      add(part.orderButtons, part.retry, part.cancel),
      part.orderWhy,
    );
    const context = make('details', 'wta-context', make('summary', '', 'Context as JSON'), part.json);
    return { nodes: [part.order, heading('Timeline'), part.events, heading('Facts'), part.facts, context], part };
  }

  /**
   * Rebuilds only what has changed: a selection made with the mouse survives.
   * @param {ShownDetail} shown
   * @param {string} name
   * @param {unknown} value
   * @param {() => void} build
   */
  function ifChanged({ keys }, name, value, build) {
    const key = JSON.stringify(value);
    if (keys[name] === key) return;
    keys[name] = key;
    build();
  }

  /**
   * @param {ShownDetail} shown
   * @param {Detail} alert
   */
  function showFacts(shown, alert) {
    const { part } = shown;
    ifChanged(shown, 'facts', alert.facts, () =>
      part.facts.replaceChildren(...alert.facts.flatMap(([name, text]) => fact(name, text))),
    );
    ifChanged(shown, 'timeline', alert.timeline, () => part.events.replaceChildren(...alert.timeline.map(newEntry)));
    setText(part.json, alert.json);
    ifChanged(shown, 'links', [alert.address, alert.order?.transaction], () =>
      part.links.replaceChildren(...newLinks(alert), part.copy),
    );
    showOrder(shown, alert);
  }

  /**
   * @param {string} name
   * @param {string} text
   * @param {number | null} [at] ms since 1970
   */
  function fact(name, text, at) {
    const since = at ? [text && ' · ', age(at, ' ago')] : [];
    return [make('dt', '', name), make('dd', '', text, ...since)];
  }

  /**
   * @param {ShownDetail} shown
   * @param {Detail} alert
   */
  function showOrder(shown, alert) {
    const { part } = shown;
    const { order } = alert;
    part.order.hidden = !alert.hasOrder;
    part.order.dataset.orderStatus = order?.status ?? 'none';
    setText(part.orderStatus, order?.status ?? '');
    part.orderStatus.dataset.status = order?.status ?? '';
    setText(part.orderNote, order ? '' : NO_ORDER);
    part.orderRow.hidden = !order;
    const facts = order?.facts ?? [];
    ifChanged(shown, 'order', facts, () =>
      part.orderFacts.replaceChildren(...facts.flatMap((each) => fact(each.label, each.text, each.at))),
    );
    setText(part.orderJson, order?.json ?? '');
    const may = state.orderActions && state.role === 'operator' && Boolean(order);
    const busy = panel.actions.isPending(alert.id);
    const reasons = new Set();
    for (const kind of /** @type {const} */ (['retry', 'cancel'])) {
      const refusal = order?.refusals[kind] ?? null;
      part[kind].hidden = refusal?.final ?? false; // it will never be possible
      part[kind].dataset.refusal = refusal?.code ?? '';
      disable(part[kind], busy || refusal !== null);
      if (refusal) reasons.add(localizeTimes(refusal.text));
    }
    part.orderButtons.hidden = !may || (part.retry.hidden && part.cancel.hidden);
    setText(part.orderWhy, may ? [...reasons].join(' ') : '');
    part.orderWhy.hidden = !part.orderWhy.textContent;
  }

  /**
   * Links to an explorer, for values that can only be an address or a signature.
   * @param {Detail} alert
   */
  function newLinks(alert) {
    const values = { token: alert.address, transaction: alert.order?.transaction };
    const links = [];
    for (const [name, value] of Object.entries(values)) {
      const template = props.explorer?.[name];
      if (!template || !value || !BASE58.test(value) || !/^https?:\/\//.test(template)) continue;
      const link = make(
        'a',
        { href: template.replace(PLACEHOLDER, value), target: '_blank', rel: 'noopener noreferrer' },
        `${capital(name)} on ${new URL(template.replace(PLACEHOLDER, '')).hostname} ↗`,
      );
      link.dataset.link = name;
      links.push(link);
    }
    return links;
  }

  /** @param {TimelineEntry} entry */
  function nameOf({ kind, until }) {
    if (kind !== 'snoozed') return kind;
    return until ? `snoozed until ${clock(until, { seconds: false })}` : 'snooze ended';
  }

  /** @param {TimelineEntry} entry */
  function newEntry(entry) {
    const delivery = describeDelivery(entry);
    const [what, by, ending] = delivery ? [delivery[0], ' to ', delivery[1]] : [nameOf(entry), ' by ', ''];
    const item = make(
      'li',
      '',
      make('span', '', make('b', '', what), by, make('span', 'wta-actor', entry.actor), ending),
      make('time', 'wta-muted', `${clock(entry.at)} · `, age(entry.at, ' ago')),
      entry.text ? make('small', '', entry.text) : undefined,
    );
    item.dataset.kind = entry.kind;
    return item;
  }

  return { newFacts, showFacts };
}
