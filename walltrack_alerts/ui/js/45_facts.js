// ---- what is known about the selected alert: its order now, the timeline, the facts, the context ----

const BASE58 = /^[1-9A-HJ-NP-Za-km-z]{32,88}$/;
const NO_ORDER = 'The order is not there any more, or this alert is about none.';

function newFacts(part) {
  const heading = (text) => make('h4', '', text);
  part.order = make('section', 'wta-order');
  part.orderStatus = make('span', 'wta-chip wta-chip-order');
  part.orderNote = make('p', 'wta-muted');
  part.orderFacts = make('dl');
  part.orderButtons = make('div', 'wta-order-buttons');
  part.orderWhy = make('p', 'wta-muted');
  part.retry = makeButton('wta-button', 'Retry order …', () => askOrder('retry'), 'retry');
  part.cancel = makeButton('wta-button wta-danger', 'Cancel order …', () => askOrder('cancel'), 'cancel');
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
  part.order.hidden = true; // until it is known: a click on what is not there yet would be lost
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

// Builds again only what has changed: a selection made with the mouse stays.
function once(name, value, build) {
  const key = JSON.stringify(value);
  if (shown.keys[name] === key) return;
  shown.keys[name] = key;
  build();
}

function showFacts(alert) {
  const { part } = shown;
  once('facts', alert.facts, () => part.facts.replaceChildren(...alert.facts.flatMap(([name, text]) => fact(name, text))));
  once('timeline', alert.timeline, () => part.events.replaceChildren(...alert.timeline.map(newEntry)));
  setText(part.json, alert.json);
  once('links', [alert.address, alert.order?.transaction], () => showLinks(alert));
  showOrder(alert);
}

function fact(name, text, at) {
  const value = make('dd', '', text);
  if (at) add(value, text ? ' · ' : '', age(at, ' ago'));
  return [make('dt', '', name), value];
}

function showOrder(alert) {
  const { part } = shown;
  const { order } = alert;
  part.order.hidden = !alert.hasOrder;
  part.order.dataset.orderStatus = order?.status ?? 'none';
  setText(part.orderStatus, order?.status ?? '');
  part.orderStatus.dataset.status = order?.status ?? '';
  setText(part.orderNote, order ? '' : NO_ORDER);
  part.orderRow.hidden = !order;
  once('order', order?.facts ?? [], () =>
    part.orderFacts.replaceChildren(...(order?.facts ?? []).flatMap((each) => fact(each.label, each.text, each.at))),
  );
  setText(part.orderJson, order?.json ?? '');
  const may = state.orderActions && state.role === 'operator' && Boolean(order);
  part.orderButtons.hidden = !may || (order?.final ?? true);
  const busy = isPending(alert.id);
  const why = [];
  for (const kind of ['retry', 'cancel']) {
    const refused = order?.refused[kind] ?? '';
    disable(part[kind], busy || refused !== '');
    if (refused && !why.includes(refused) && !(order?.final && why.length)) why.push(refused);
  }
  setText(part.orderWhy, may ? why.join(' ') : '');
  part.orderWhy.hidden = !part.orderWhy.textContent;
}

// Links to an explorer, for values that can be nothing but an address or a signature.
function showLinks(alert) {
  const { part } = shown;
  const values = { token: alert.address, transaction: alert.order?.transaction };
  const links = [];
  for (const [name, value] of Object.entries(values)) {
    const template = props.explorer?.[name];
    if (!template || !value || !BASE58.test(value) || !/^https?:\/\//.test(template)) continue;
    const link = make('a', '', `${capital(name)} on ${new URL(template.replace(`{${name}}`, '')).hostname} ↗`);
    link.href = template.replace(`{${name}}`, value);
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
    link.dataset.link = name;
    links.push(link);
  }
  part.links.replaceChildren(...links, part.copy);
}

const DONE_BY = {
  snoozed: (entry) => (entry.until ? `snoozed until ${clock(entry.until, { seconds: false })}` : 'woken'),
};

function newEntry(entry) {
  const item = make('li');
  item.dataset.kind = entry.kind;
  const what = DONE_BY[entry.kind]?.(entry) ?? entry.kind;
  add(item, add(make('span'), make('b', '', what), ' by ', make('span', 'wta-actor', entry.actor)));
  add(item, add(make('time', 'wta-muted', `${clock(entry.at)} · `), age(entry.at, ' ago')));
  if (entry.text) item.append(make('small', '', entry.text));
  return item;
}
