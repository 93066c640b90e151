// ---- the charts, in pages.charts: read when they are shown ----
// Time runs in the viewer's zone. Each plot is one stop of the Tab key; the arrows walk over it. A table that only screen
// readers find says the same in words; the two lists of failures are tables anyway.

const CHARTS_MS = 60000; // how old shown charts may be
const CHART_PAUSE_MS = 1000; // between two readings because alerts change
const DAYS_KEY = 'walltrack-alerts.days';
const RANGES = [[1, '24 h', '24 hours'], [7, '7 d', '7 days'], [30, '30 d', '30 days']];
const PLOT = { height: 200, right: 10, top: 10, bottom: 26 };
const TIMES_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const TOOK = ['median', 'p95'];
const charts = {
  days: RANGES.some(([days]) => String(days) === storage.get(DAYS_KEY)) ? Number(storage.get(DAYS_KEY)) : null, // null: none was chosen
  data: null, counts: '', asked: 0, turn: 0, timer: null,
};

function draw(tag, attributes = {}, text = undefined) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// ---- numbers and times as people read them ----

function roundStep(most, wanted = 4) {
  const rough = Math.max(most / wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
}

function roundTimeStep(most) {
  return TIMES_S.find((each) => each * 4 >= most) ?? roundStep(most / 86400) * 86400;
}

function shortTime(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 6) / 10} min`;
  if (seconds < 86400) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8640) / 10} d`;
}

function at(ms, options) {
  return new Intl.DateTimeFormat([], { timeZone: charts.data.timezone, hourCycle: 'h23', ...options }).format(ms);
}

const asDay = (ms) => at(ms, { weekday: 'short', day: 'numeric', month: 'short' });
const asTime = (ms) => at(ms, { hour: '2-digit', minute: '2-digit' });
const asHour = (ms) => Number(at(ms, { hour: '2-digit' }).match(/\d+/)[0]);

function asBucket({ from, to, at: moment }) {
  if (moment !== undefined) return `${asDay(moment)}, ${asTime(moment)}`;
  return charts.data.days > 3 ? asDay(from) : `${asDay(from)}, ${asTime(from)}–${asTime(to)}`;
}

// ---- the cards ----

const spoken = () => RANGES.find(([days]) => days === charts.data.days)[2];
const total = (values) => values.reduce((sum, value) => sum + value, 0);
const sumOf = (buckets) => total(buckets.map((each) => total(each.values)));
const counted = (buckets) => total(buckets.map((each) => each.count));
const responses = (name, done) => ({
  name, title: `Time to ${name}`, series: TOOK, left: 54, show: shortTime, step: roundTimeStep, paint: paintTimes,
  highest: (bucket) => bucket.values[1] ?? 0,
  some: (buckets) => counted(buckets) > 0,
  aside: (buckets) => `${counted(buckets)} ${done}`,
  none: () => `No alert was ${done} in the last ${spoken()}.`,
  footer: (bucket) => (bucket.count ? `${plural(bucket.count, 'alert')} ${done}` : `none ${done}`),
});
const ofSeverities = { series: SEVERITIES, left: 40, show: String, step: roundStep, highest: (bucket) => total(bucket.values) };
const PLOTS = [
  {
    ...ofSeverities, name: 'raised', title: 'Alerts raised', paint: paintBars,
    some: (buckets) => sumOf(buckets) > 0,
    aside: (buckets) => `${sumOf(buckets)} ${charts.data.days > 3 ? 'by day' : 'by hour'}`,
    none: () => `No alerts were raised in the last ${spoken()}.`,
    footer: (bucket) => `${total(bucket.values)} in all`,
  },
  {
    ...ofSeverities, name: 'open', title: 'Open alerts', paint: paintAreas,
    some: (points) => sumOf(points) > 0,
    aside: (points) => `${total(points.at(-1).values)} now`,
    none: () => `No alert was open in the last ${spoken()}.`,
    footer: (point) => `${total(point.values)} in all`,
  },
  responses('acknowledge', 'acknowledged'),
  responses('resolve', 'resolved'),
];
const LISTS = [
  { name: 'tokens', title: 'Failed orders by token', what: 'Token' },
  { name: 'errors', title: 'Failed orders by error', what: 'Error' },
];

function newCard(plot) {
  const card = {
    plot, index: null, buckets: [], key: '', title: make('h3', '', plot.title), aside: make('span', 'wta-muted'),
    nothing: make('p', 'wta-chart-none'), table: make('table'), tip: make('div', 'wta-tip'),
    svg: draw('svg', { tabindex: 0, role: 'img', 'aria-label': plot.title }), frame: make('div', 'wta-plot'),
  };
  card.node = add(make('section', 'wta-chart'), add(make('header'), card.title, card.aside), card.nothing);
  card.node.id = id(`chart-${plot.name}`);
  label(card.node, plot.title);
  if (!plot.series) return { ...card, node: add(card.node, card.table) };
  card.tip.hidden = true;
  card.table.className = 'wta-unseen';
  const legend = make('ul', 'wta-legend');
  legend.setAttribute('aria-hidden', 'true');
  legend.append(...plot.series.map((name) => add(make('li'), make('i', `wta-key wta-key-${name}`), name)));
  add(card.node, legend, add(card.frame, card.svg, card.tip), card.table);
  const point = (event) => {
    const x = event.clientX - card.svg.getBoundingClientRect().left;
    const distance = card.buckets.map((each) => Math.abs((each.x0 + each.x1) / 2 - x));
    showTip(card, distance.indexOf(Math.min(...distance)));
  };
  card.svg.addEventListener('pointermove', point);
  card.svg.addEventListener('pointerdown', point);
  card.svg.addEventListener('pointerleave', ({ pointerType }) => { if (pointerType === 'mouse') showTip(card, null); });
  card.svg.addEventListener('blur', () => showTip(card, null));
  card.svg.addEventListener('focus', () => { if (card.svg.matches(':focus-visible')) showTip(card, card.buckets.length - 1); });
  card.svg.addEventListener('keydown', (event) => {
    const last = card.buckets.length - 1;
    const now = card.index ?? last;
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    showTip(card, next === null ? null : Math.min(Math.max(next, 0), last));
  });
  return card;
}

const cards = [...PLOTS, ...LISTS].map(newCard);
const ranges = label(make('div', 'wta-ranges'), 'Time range');
ranges.setAttribute('role', 'group');
for (const [days, text, full] of RANGES) {
  const button = makeButton('wta-range', text, () => {
    charts.days = days;
    storage.set(DAYS_KEY, String(days));
    readCharts();
  }, `range-${days}`);
  button.title = full;
  button.dataset.days = days;
  ranges.append(button);
}
const zoneNote = make('span', 'wta-muted');
const chartTrouble = make('p', 'wta-banner');
chartTrouble.hidden = true;
const grid = make('div', 'wta-charts');
add(pages.charts, add(make('div', 'wta-charts-head'), ranges, zoneNote), chartTrouble, add(grid, ...cards.map((card) => card.node)));

// ---- plots ----

function paintPlot(card) {
  const { plot, svg, buckets } = card;
  const width = Math.max(card.frame.clientWidth, 240);
  const { height, right, top, bottom } = PLOT;
  const { left } = plot;
  const floor = height - bottom;
  const start = buckets[0].from ?? buckets[0].at;
  const end = charts.data.raised.at(-1).to;
  const x = (ms) => left + ((ms - start) / (end - start)) * (width - left - right);
  const most = Math.max(...buckets.map(plot.highest));
  const step = plot.step(most);
  const top_ = Math.max(Math.ceil(most / step), 1) * step;
  const y = (value) => floor - (value / top_) * (floor - top);
  const nodes = [];
  for (let value = 0; value <= top_ + step / 2; value += step) {
    nodes.push(draw('line', { x1: left, x2: width - right, y1: y(value), y2: y(value), class: value ? 'wta-gridline' : 'wta-floor' }));
    nodes.push(draw('text', { x: left - 7, y: y(value) + 4, 'text-anchor': 'end' }, value ? plot.show(value) : '0'));
  }
  for (const each of charts.data.raised) nodes.push(...timeLabel(each, x, width - left, floor));
  for (const each of buckets) {
    const [x0, x1] = each.at === undefined ? [x(each.from), x(each.to)] : [x(each.at), x(each.at)];
    Object.assign(each, { x0, x1 });
  }
  const cursor = draw('rect', { class: 'wta-cursor', y: top, height: floor - top, width: 0 });
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('width', width);
  svg.setAttribute('height', height);
  svg.setAttribute('aria-label', `${plot.title}: ${plot.aside(buckets)}. Arrow keys read it out in a tip.`);
  svg.replaceChildren(hatching(), ...nodes, cursor, ...plot.paint(buckets, y, floor));
  card.cursor = cursor;
}

function timeLabel({ from, to }, x, width, floor) {
  const daily = charts.data.days > 3;
  const room = daily ? 46 : 42;
  const least = Math.ceil((room * charts.data.raised.length) / (width - PLOT.right));
  const every = (daily ? [1, 2, 3, 5, 7, 10, 15] : [1, 2, 3, 4, 6, 12]).find((each) => each >= least) ?? 12;
  if (daily) {
    const place = charts.data.raised.findIndex((each) => each.from === from);
    if ((charts.data.raised.length - 1 - place) % every) return [];
    const text = charts.data.days > 7 ? at(from, { day: 'numeric', month: 'short' })
      : `${at(from, { weekday: 'short' })} ${at(from, { day: 'numeric' })}`;
    return [draw('text', { x: (x(from) + x(to)) / 2, y: floor + 18, 'text-anchor': 'middle' }, text)];
  }
  const hour = asHour(from);
  if (hour % every) return [];
  const text = hour ? asTime(from) : at(from, { day: 'numeric', month: 'short' });
  return [
    draw('line', { x1: x(from), x2: x(from), y1: floor, y2: floor + 4, class: 'wta-floor' }),
    draw('text', { x: x(from), y: floor + 18, 'text-anchor': 'middle' }, text),
  ];
}

function bar(x0, x1, y0, y1, name) {
  const gap = Math.min((x1 - x0) * 0.16, 4);
  const width = Math.min(x1 - x0 - 2 * gap, 44);
  const middle = (x0 + x1) / 2;
  return filled('rect', { x: middle - width / 2, width, y: y1, height: Math.max(y0 - y1, 0) }, name);
}

// Colours are not all that tells the severities apart: high ones are hatched.
function filled(tag, shape, name) {
  const nodes = [draw(tag, { ...shape, class: `wta-fill wta-fill-${name}` })];
  if (name === 'high') nodes.push(draw(tag, { ...shape, fill: `url(#${id('hatch')})` }));
  return nodes;
}

function hatching() {
  const pattern = draw('pattern', { id: id('hatch'), width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' });
  return add(draw('defs'), add(pattern, draw('rect', { width: 1.4, height: 5, class: 'wta-hatch' })));
}

function paintBars(buckets, y) {
  return buckets.flatMap(({ x0, x1, values }) => {
    let below = 0;
    return SEVERITIES.flatMap((name, index) => {
      if (!values[index]) return [];
      below += values[index];
      return bar(x0, x1, y(below - values[index]), y(below), name);
    });
  });
}

function paintTimes(buckets, y, floor) {
  const known = buckets.filter(({ count }) => count);
  // What took a moment is still seen.
  return [1, 0].flatMap((index) => known.flatMap(({ x0, x1, values }) => bar(x0, x1, floor, Math.min(y(values[index]), floor - 2), TOOK[index])));
}

function paintAreas(points, y) {
  let below = points.map(() => 0);
  return SEVERITIES.flatMap((name, index) => {
    const above = points.map(({ values }, place) => below[place] + values[index]);
    const line = (heights) => points.map(({ x0 }, place) => `${x0.toFixed(1)},${y(heights[place]).toFixed(1)}`);
    const area = filled('polygon', { points: [...line(above), ...line(below).reverse()].join(' ') }, name);
    below = above;
    return points.some(({ values }) => values[index]) ? area : [];
  });
}

function showTip(card, index) {
  card.index = index;
  const bucket = card.buckets[index];
  card.tip.hidden = !bucket;
  if (!bucket) {
    card.cursor?.setAttribute('width', 0);
    return;
  }
  const { plot, tip, cursor } = card;
  const middle = (bucket.x0 + bucket.x1) / 2;
  cursor.setAttribute('x', bucket.x1 > bucket.x0 ? bucket.x0 : middle - 0.75);
  cursor.setAttribute('width', Math.max(bucket.x1 - bucket.x0, 1.5));
  tip.replaceChildren(
    make('b', '', asBucket(bucket)),
    ...plot.series.map((name, each) => add(
      make('span'), make('i', `wta-key wta-key-${name}`), make('span', '', name),
      make('b', '', bucket.values[each] === null ? '–' : plot.show(bucket.values[each])),
    )),
    make('small', '', plot.footer(bucket)),
  );
  const room = card.frame.clientWidth - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(middle < room - 14 ? middle + 14 : middle - tip.offsetWidth - 14, room))}px`;
}

function fillTable(table, caption, head, rows) {
  const row = (cells, tag) => add(make('tr'), ...cells.map((text, place) => {
    const cell = add(make(place ? tag : 'th'), make('bdi', '', String(text)));
    cell.scope = tag === 'th' ? 'col' : 'row';
    return cell;
  }));
  table.replaceChildren(make('caption', '', caption), add(make('thead'), row(head, 'th')), add(make('tbody'), ...rows.map((cells) => row(cells, 'td'))));
}

function showFailures(card, rows) {
  const most = rows[0]?.count ?? 0;
  fillTable(card.table, card.plot.title, [card.plot.what, 'Failures'], rows.map(({ label: text, count }) => [text, count]));
  card.table.querySelectorAll('tbody tr').forEach((line, place) => {
    const { more, aside, count } = rows[place];
    line.firstElementChild.title = more || rows[place].label;
    if (aside) line.firstElementChild.append(make('small', '', aside));
    const strip = make('i', 'wta-strip');
    strip.style.width = `${(count / most) * 100}%`;
    line.lastElementChild.prepend(strip);
  });
}

function showCharts() {
  const bounds = new Set(charts.data.raised.map(({ from }) => from));
  for (const card of cards) {
    const { plot } = card;
    const found = charts.data[plot.name];
    const key = JSON.stringify([found, charts.data.days, charts.data.timezone, [...bounds], grid.clientWidth]);
    if (key === card.key) continue; // nothing moves that has not changed
    card.key = key;
    const some = plot.series ? plot.some(found) : found.length > 0;
    card.node.dataset.some = some;
    card.nothing.hidden = some;
    card.table.hidden = !some;
    setText(card.nothing, plot.none ? plot.none() : `No order failed for good in the last ${spoken()}.`);
    setText(card.aside, some && plot.aside ? plot.aside(found) : '');
    if (plot.series) {
      card.frame.hidden = card.frame.previousElementSibling.hidden = !some;
      card.buckets = some ? found.map((each) => ({ ...each })) : [];
      if (some) {
        paintPlot(card);
        const cells = (each) => each.values.map((value) => (value === null ? 'none' : plot.show(value)));
        const told = found.filter((each, place) => bounds.has(each.at ?? each.from) || place === found.length - 1);
        fillTable(card.table, plot.title, ['Time', ...plot.series], told.map((each) => [asBucket(each), ...cells(each)]));
      }
      showTip(card, card.index !== null && card.index < card.buckets.length ? card.index : null);
    } else {
      showFailures(card, found);
    }
  }
  for (const button of ranges.children) button.setAttribute('aria-pressed', String(Number(button.dataset.days) === charts.data.days));
  setText(zoneNote, charts.data.timezone.replaceAll('_', ' '));
  root.dataset.charts = charts.data.days;
}

// Until a range is chosen, time begins with the first that there is to see: a young database would fill an edge.
function fromTheFirst(answer) {
  const buckets = ['raised', 'acknowledge', 'resolve'].map((name) => answer[name].findIndex(({ values, count = total(values) }) => count > 0));
  const { at: opened } = answer.open.find(({ values }) => total(values) > 0) ?? {};
  buckets.push(answer.raised.findLastIndex(({ from }) => from <= opened));
  const first = Math.min(...buckets.filter((index) => index >= 0));
  if (!Number.isFinite(first)) return answer;
  const { from } = answer.raised[first];
  const later = Object.entries(answer).map(([name, all]) => {
    return [name, PLOTS.some((plot) => plot.name === name) ? all.filter((each) => (each.from ?? each.at) >= from) : all];
  });
  return Object.fromEntries(later);
}

const chartsAreSeen = () => root.dataset.view === 'charts' && !document.hidden;

async function readCharts() {
  clearTimeout(charts.timer);
  charts.timer = null;
  const { days } = charts;
  const turn = (charts.turn += 1);
  charts.asked = Date.now();
  const answer = await call('charts', { days, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone });
  if (turn !== charts.turn) return; // another range was chosen meanwhile
  chartTrouble.hidden = !answer.problem;
  setText(chartTrouble, answer.problem ? `The charts could not be read: ${answer.problem}` : '');
  if (answer.problem) return;
  charts.data = days === null ? fromTheFirst(answer) : answer;
  if (chartsAreSeen()) showCharts();
}

on('view', (name) => { if (name === 'charts') readCharts(); });
on('tick', () => { if (chartsAreSeen() && Date.now() - charts.asked >= CHARTS_MS) readCharts(); });
on('summary', (counts) => {
  const key = JSON.stringify(Object.entries(counts).filter(([name]) => !['median', 'at'].includes(name)));
  if (key === charts.counts) return;
  charts.counts = key;
  if (chartsAreSeen()) charts.timer ??= setTimeout(readCharts, Math.max(charts.asked + CHART_PAUSE_MS - Date.now(), 0));
});
const chartsResized = new ResizeObserver(() => { if (charts.data && chartsAreSeen()) showCharts(); });
chartsResized.observe(grid);
on('closed', () => chartsResized.disconnect());
