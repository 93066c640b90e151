// The parts of the detail: the order now, the timeline, the facts, the context.

import { add, disable, label, make, setText } from './dom.js';
import { capital, clock, localizeTimes } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createFacts(panel) {
  const { makeButton, id, state, age, props } = panel;

  const BASE58 = /^[1-9A-HJ-NP-Za-km-z]{32,88}$/;
  const PLACEHOLDER = /\{\w+\}/;
  const NO_ORDER = 'The order is not there any more, or this alert is about none.';

  /** @param {Record<string, any>} part */
  function newFacts(part) {
    /** @param {string} text */
    const heading = (text) => make('h4', '', text);
    part.order = make('section', 'wta-order');
    part.orderStatus = make('span', 'wta-chip wta-chip-order');
    part.orderNote = make('p', 'wta-muted');
    part.orderFacts = make('dl');
    part.orderButtons = make('div', 'wta-order-buttons');
    part.orderWhy = make('p', 'wta-muted');
    part.retry = makeButton('wta-button', 'Retry order …', () => panel.dialogs.askOrder('retry'), 'retry');
    part.cancel = makeButton('wta-button wta-danger', 'Cancel order …', () => panel.dialogs.askOrder('cancel'), 'cancel');
    part.events = make('ol', 'wta-events');
    part.facts = make('dl');
    part.json = make('pre', 'wta-json');
    part.json.tabIndex = 0;
    label(part.json, 'Context as JSON');
    part.json.setAttribute('role', 'region');
    part.orderJson = make('pre', 'wta-json');
    part.orderJson.tabIndex = 0;
    label(part.orderJson, 'Row of the order as JSON');
    part.orderJson.setAttribute('role', 'region');
    part.orderRow = add(make('details', 'wta-context'), make('summary', '', 'The whole row'), part.orderJson);
    part.order.id = id('order');
    part.order.hidden = true; // until it is known
    part.events.id = id('events');
    part.facts.id = id('facts');
    part.json.id = id('json');
    add(
      part.order,
      add(make('div', 'wta-order-head'), heading('Order now'), part.orderStatus),
      part.orderNote,
      part.orderFacts,
      part.orderRow,
      add(part.orderButtons, part.retry, part.cancel),
      part.orderWhy,
    );
    return [
      part.order,
      heading('Timeline'),
      part.events,
      heading('Facts'),
      part.facts,
      add(make('details', 'wta-context'), make('summary', '', 'Context as JSON'), part.json),
    ];
  }

  /**
   * Rebuilds only what has changed: a selection made with the mouse survives.
   * @param {string} name
   * @param {any} value
   * @param {() => void} build
   */
  function ifChanged(name, value, build) {
    const key = JSON.stringify(value);
    if (state.shown.keys[name] === key) return;
    state.shown.keys[name] = key;
    build();
  }

  /** @param {any} alert */
  function showFacts(alert) {
    const { part } = state.shown;
    ifChanged('facts', alert.facts, () =>
      part.facts.replaceChildren(...alert.facts.flatMap((/** @type {any} */ [name, text]) => fact(name, text))),
    );
    ifChanged('timeline', alert.timeline, () => part.events.replaceChildren(...alert.timeline.map(newEntry)));
    setText(part.json, alert.json);
    ifChanged('links', [alert.address, alert.order?.transaction], () => showLinks(alert));
    showOrder(alert);
  }

  /**
   * @param {string} name
   * @param {string} text
   * @param {number | null} [at] ms since 1970
   */
  function fact(name, text, at) {
    const value = make('dd', '', text);
    if (at) add(value, text ? ' · ' : '', age(at, ' ago'));
    return [make('dt', '', name), value];
  }

  /** @param {any} alert */
  function showOrder(alert) {
    const { part } = state.shown;
    const { order } = alert;
    part.order.hidden = !alert.hasOrder;
    part.order.dataset.orderStatus = order?.status ?? 'none';
    setText(part.orderStatus, order?.status ?? '');
    part.orderStatus.dataset.status = order?.status ?? '';
    setText(part.orderNote, order ? '' : NO_ORDER);
    part.orderRow.hidden = !order;
    ifChanged('order', order?.facts ?? [], () =>
      part.orderFacts.replaceChildren(
        ...(order?.facts ?? []).flatMap((/** @type {any} */ each) => fact(each.label, each.text, each.at)),
      ),
    );
    setText(part.orderJson, order?.json ?? '');
    const may = state.orderActions && state.role === 'operator' && Boolean(order);
    const busy = panel.actions.isPending(alert.id);
    const reasons = new Set();
    for (const kind of ['retry', 'cancel']) {
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
   * @param {any} alert
   */
  function showLinks(alert) {
    const { part } = state.shown;
    const values = { token: alert.address, transaction: alert.order?.transaction };
    const links = [];
    for (const [name, value] of Object.entries(values)) {
      const template = props.explorer?.[name];
      if (!template || !value || !BASE58.test(value) || !/^https?:\/\//.test(template)) continue;
      const link = make('a', '', `${capital(name)} on ${new URL(template.replace(PLACEHOLDER, '')).hostname} ↗`);
      link.href = template.replace(PLACEHOLDER, value);
      link.target = '_blank';
      link.rel = 'noopener noreferrer';
      link.dataset.link = name;
      links.push(link);
    }
    part.links.replaceChildren(...links, part.copy);
  }

  /** @type {Record<string, (entry: any) => string>} */
  const DONE_BY = {
    snoozed: (/** @type {any} */ entry) => (entry.until ? `snoozed until ${clock(entry.until, { seconds: false })}` : 'woken'),
  };

  /** @param {any} entry */
  function newEntry(entry) {
    const item = make('li');
    item.dataset.kind = entry.kind;
    const what = DONE_BY[entry.kind]?.(entry) ?? entry.kind;
    add(item, add(make('span'), make('b', '', what), ' by ', make('span', 'wta-actor', entry.actor)));
    add(item, add(make('time', 'wta-muted', `${clock(entry.at)} · `), age(entry.at, ' ago')));
    if (entry.text) item.append(make('small', '', entry.text));
    return item;
  }

  return { newFacts, showFacts };
}
