import { countOf, fromFirstValue, sumOf, total } from './buckets.js';
import { SEVERITIES } from './constants.js';
import { add, draw, label, make, setText } from './dom.js';
import { plural, roundStep, roundTimeStep, shortTime } from './format.js';
import { storage } from './storage.js';

// The charts, read when they are shown. Time runs in the viewer's zone. Each plot is one stop of the Tab key; the arrow keys
// walk over it. A table that only screen readers find says the same in words; the two lists of failures are tables anyway.

/** @typedef {import('./types.js').ChartData} ChartData */

/** @param {import('./types.js').Panel} panel */
export function createCharts(panel) {
  const { id, makeButton, root, on } = panel;

  const CHARTS_MS = 60000; // how old shown charts may be
  const CHART_PAUSE_MS = 1000; // between two readings because alerts change
  const DAYS_KEY = 'walltrack-alerts.days';
  /** @type {[number, string, string][]} days, label, name */
  const RANGES = [
    [1, '24 h', '24 hours'],
    [7, '7 d', '7 days'],
    [30, '30 d', '30 days'],
  ];
  const PLOT = { height: 200, right: 10, top: 10, bottom: 26 };
  const TOOK = ['median', 'p95'];
  const charts = {
    days: RANGES.some(([days]) => String(days) === storage.get(DAYS_KEY)) ? Number(storage.get(DAYS_KEY)) : null, // null: none was chosen
    data: /** @type {ChartData} */ (/** @type {unknown} */ (null)), // null until it is read
    counts: '',
    asked: 0,
    turn: 0,
    timer: /** @type {ReturnType<typeof setTimeout> | null} */ (null),
  };

  /**
   * @param {number} ms
   * @param {Intl.DateTimeFormatOptions} options
   */
  function at(ms, options) {
    return new Intl.DateTimeFormat([], { timeZone: charts.data.timezone, hourCycle: 'h23', ...options }).format(ms);
  }

  /** @param {number} ms */
  const asDay = (ms) => at(ms, { weekday: 'short', day: 'numeric', month: 'short' });
  /** @param {number} ms */
  const asTime = (ms) => at(ms, { hour: '2-digit', minute: '2-digit' });
  /** @param {number} ms */
  const asHour = (ms) => Number(at(ms, { hour: '2-digit' }).match(/\d+/)?.[0]);

  function asBucket(/** @type {any} */ { from, to, at: moment }) {
    if (moment !== undefined) return `${asDay(moment)}, ${asTime(moment)}`;
    return charts.data.days > 3 ? asDay(from) : `${asDay(from)}, ${asTime(from)}–${asTime(to)}`;
  }

  // ---- the cards ----

  const rangeName = () => RANGES.find(([days]) => days === charts.data.days)?.[2] ?? `${charts.data.days} days`;
  /**
   * @param {string} name
   * @param {string} done
   */
  const responses = (name, done) => ({
    name,
    title: `Time to ${name}`,
    series: TOOK,
    left: 54,
    show: shortTime,
    step: roundTimeStep,
    paint: paintTimes,
    highest: (/** @type {import('./types.js').Bucket} */ bucket) => bucket.values[1] ?? 0,
    some: (/** @type {import('./types.js').Bucket[]} */ buckets) => countOf(buckets) > 0,
    aside: (/** @type {import('./types.js').Bucket[]} */ buckets) => `${countOf(buckets)} ${done}`,
    none: () => `No alert was ${done} in the last ${rangeName()}.`,
    footer: (/** @type {import('./types.js').Bucket} */ bucket) =>
      bucket.count ? `${plural(bucket.count, 'alert')} ${done}` : `none ${done}`,
  });
  const ofSeverities = {
    series: SEVERITIES,
    left: 40,
    show: String,
    step: roundStep,
    highest: (/** @type {import('./types.js').Bucket} */ bucket) => total(bucket.values),
  };
  const PLOTS = [
    {
      ...ofSeverities,
      name: 'raised',
      title: 'Alerts raised',
      paint: paintBars,
      some: (/** @type {import('./types.js').Bucket[]} */ buckets) => sumOf(buckets) > 0,
      aside: (/** @type {import('./types.js').Bucket[]} */ buckets) =>
        `${sumOf(buckets)} ${charts.data.days > 3 ? 'by day' : 'by hour'}`,
      none: () => `No alerts were raised in the last ${rangeName()}.`,
      footer: (/** @type {import('./types.js').Bucket} */ bucket) => `${total(bucket.values)} in all`,
    },
    {
      ...ofSeverities,
      name: 'open',
      title: 'Open alerts',
      paint: paintAreas,
      some: (/** @type {import('./types.js').Bucket[]} */ points) => sumOf(points) > 0,
      aside: (/** @type {import('./types.js').Bucket[]} */ points) => `${total(points[points.length - 1].values)} now`,
      none: () => `No alert was open in the last ${rangeName()}.`,
      footer: (/** @type {import('./types.js').Bucket} */ point) => `${total(point.values)} in all`,
    },
    responses('acknowledge', 'acknowledged'),
    responses('resolve', 'resolved'),
  ];
  const LISTS = [
    { name: 'tokens', title: 'Failed orders by token', what: 'Token' },
    { name: 'errors', title: 'Failed orders by error', what: 'Error' },
  ];

  /** @param {Record<string, any>} plot */
  function newCard(plot) {
    /** @type {Record<string, any>} */
    const card = {
      plot,
      index: null,
      buckets: /** @type {import('./types.js').Bucket[]} */ ([]),
      key: '',
      title: make('h3', '', plot.title),
      aside: make('span', 'wta-muted'),
      nothing: make('p', 'wta-chart-none'),
      table: make('table'),
      tip: make('div', 'wta-tip'),
      svg: draw('svg', { tabindex: 0, role: 'img', 'aria-label': plot.title }),
      frame: make('div', 'wta-plot'),
    };
    card.node = add(make('section', 'wta-chart'), add(make('header'), card.title, card.aside), card.nothing);
    card.node.id = id(`chart-${plot.name}`);
    label(card.node, plot.title);
    if (!plot.series) return { ...card, node: add(card.node, card.table) };
    card.tip.hidden = true;
    card.table.className = 'wta-unseen';
    card.legend = make('ul', 'wta-legend');
    const { legend } = card;
    legend.setAttribute('aria-hidden', 'true');
    legend.append(
      ...plot.series.map((/** @type {string} */ name) => add(make('li'), make('i', `wta-key wta-key-${name}`), name)),
    );
    add(card.node, legend, add(card.frame, card.svg, card.tip), card.table);
    /** @param {any} event */
    const point = (event) => {
      const x = event.clientX - card.svg.getBoundingClientRect().left;
      const distance = card.buckets.map((/** @type {any} */ each) => Math.abs((each.x0 + each.x1) / 2 - x));
      showTip(card, distance.indexOf(Math.min(...distance)));
    };
    card.svg.addEventListener('pointermove', point);
    card.svg.addEventListener('pointerdown', point);
    card.svg.addEventListener('pointerleave', (/** @type {any} */ { pointerType }) => {
      if (pointerType === 'mouse') showTip(card, null);
    });
    card.svg.addEventListener('blur', () => showTip(card, null));
    card.svg.addEventListener('focus', () => {
      if (card.svg.matches(':focus-visible')) showTip(card, card.buckets.length - 1);
    });
    card.svg.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      const last = card.buckets.length - 1;
      const now = card.index ?? last;
      /** @type {Record<string, number | null>} */
      const places = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null };
      const next = places[event.key];
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
    const button = makeButton(
      'wta-range',
      text,
      () => {
        charts.days = days;
        storage.set(DAYS_KEY, String(days));
        readCharts();
      },
      `range-${days}`,
    );
    button.title = full;
    button.dataset.days = String(days);
    ranges.append(button);
  }
  const zoneNote = make('span', 'wta-muted');
  const chartTrouble = make('p', 'wta-banner');
  chartTrouble.hidden = true;
  const grid = make('div', 'wta-charts');
  add(
    panel.frame.pages.charts,
    add(make('div', 'wta-charts-head'), ranges, zoneNote),
    chartTrouble,
    add(grid, ...cards.map((card) => card.node)),
  );

  // ---- plots ----

  /** @param {Record<string, any>} card */
  function paintPlot(card) {
    const { plot, svg, buckets } = card;
    const width = Math.max(card.frame.clientWidth, 240);
    const { height, right, top, bottom } = PLOT;
    const { left } = plot;
    const floor = height - bottom;
    const start = buckets[0].from ?? buckets[0].at;
    const end = charts.data.raised[charts.data.raised.length - 1].to;
    /** @param {number} ms */
    const x = (ms) => left + ((ms - start) / (end - start)) * (width - left - right);
    const most = Math.max(...buckets.map(plot.highest));
    const step = plot.step(most);
    const top_ = Math.max(Math.ceil(most / step), 1) * step;
    /** @param {any} value */
    const y = (value) => floor - (value / top_) * (floor - top);
    const nodes = [];
    for (let value = 0; value <= top_ + step / 2; value += step) {
      nodes.push(
        draw('line', { x1: left, x2: width - right, y1: y(value), y2: y(value), class: value ? 'wta-gridline' : 'wta-floor' }),
      );
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

  /**
   * @param {import('./types.js').Bucket} bucket
   * @param {(ms: number) => number} x
   * @param {number} width
   * @param {number} floor
   */
  function timeLabel(bucket, x, width, floor) {
    const { from, to } = bucket;
    const daily = charts.data.days > 3;
    const room = daily ? 46 : 42;
    const least = Math.ceil((room * charts.data.raised.length) / (width - PLOT.right));
    const every = (daily ? [1, 2, 3, 5, 7, 10, 15] : [1, 2, 3, 4, 6, 12]).find((each) => each >= least) ?? 12;
    if (daily) {
      const place = charts.data.raised.findIndex((each) => each.from === from);
      if ((charts.data.raised.length - 1 - place) % every) return [];
      const text =
        charts.data.days > 7
          ? at(from, { day: 'numeric', month: 'short' })
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

  /**
   * @param {number} x0
   * @param {number} x1
   * @param {number} y0
   * @param {number} y1
   * @param {string} name
   */
  function bar(x0, x1, y0, y1, name) {
    const gap = Math.min((x1 - x0) * 0.16, 4);
    const width = Math.min(x1 - x0 - 2 * gap, 44);
    const middle = (x0 + x1) / 2;
    return filled('rect', { x: middle - width / 2, width, y: y1, height: Math.max(y0 - y1, 0) }, name);
  }

  /**
   * Colours are not all that tells the severities apart: high ones are hatched.
   * @param {'rect' | 'polygon'} tag
   * @param {Record<string, string | number>} shape
   * @param {string} name
   */
  function filled(tag, shape, name) {
    const nodes = [draw(tag, { ...shape, class: `wta-fill wta-fill-${name}` })];
    if (name === 'high') nodes.push(draw(tag, { ...shape, fill: `url(#${id('hatch')})` }));
    return nodes;
  }

  function hatching() {
    const pattern = draw('pattern', {
      id: id('hatch'),
      width: 5,
      height: 5,
      patternUnits: 'userSpaceOnUse',
      patternTransform: 'rotate(45)',
    });
    return add(draw('defs'), add(pattern, draw('rect', { width: 1.4, height: 5, class: 'wta-hatch' })));
  }

  /**
   * @param {import('./types.js').Bucket[]} buckets
   * @param {(value: number) => number} y
   */
  function paintBars(buckets, y) {
    return buckets.flatMap((/** @type {any} */ { x0, x1, values }) => {
      let below = 0;
      return SEVERITIES.flatMap((name, index) => {
        if (!values[index]) return [];
        below += values[index];
        return bar(x0, x1, y(below - values[index]), y(below), name);
      });
    });
  }

  /**
   * @param {import('./types.js').Bucket[]} buckets
   * @param {(value: number) => number} y
   * @param {number} floor
   */
  function paintTimes(buckets, y, floor) {
    const known = buckets.filter((/** @type {any} */ { count }) => count);
    // What took a moment is still seen.
    return [1, 0].flatMap((index) =>
      known.flatMap((/** @type {any} */ { x0, x1, values }) =>
        bar(x0, x1, floor, Math.min(y(values[index]), floor - 2), TOOK[index]),
      ),
    );
  }

  /**
   * @param {import('./types.js').Bucket[]} points
   * @param {(value: number) => number} y
   */
  function paintAreas(points, y) {
    let below = points.map(() => 0);
    return SEVERITIES.flatMap((name, index) => {
      const above = points.map((/** @type {any} */ { values }, /** @type {number} */ place) => below[place] + values[index]);
      /** @param {number[]} heights */
      const line = (heights) =>
        points.map(
          (/** @type {any} */ { x0 }, /** @type {number} */ place) => `${x0.toFixed(1)},${y(heights[place]).toFixed(1)}`,
        );
      const area = filled('polygon', { points: [...line(above), ...line(below).reverse()].join(' ') }, name);
      below = above;
      return points.some((/** @type {any} */ { values }) => values[index]) ? area : [];
    });
  }

  /**
   * @param {Record<string, any>} card
   * @param {number | null} index
   */
  function showTip(card, index) {
    card.index = index;
    const bucket = index === null ? undefined : card.buckets[index];
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
      ...plot.series.map((/** @type {string} */ name, /** @type {any} */ each) =>
        add(
          make('span'),
          make('i', `wta-key wta-key-${name}`),
          make('span', '', name),
          make('b', '', bucket.values[each] === null ? '–' : plot.show(bucket.values[each])),
        ),
      ),
      make('small', '', plot.footer(bucket)),
    );
    const room = card.frame.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(middle < room - 14 ? middle + 14 : middle - tip.offsetWidth - 14, room))}px`;
  }

  /**
   * @param {HTMLTableElement} table
   * @param {string} caption
   * @param {string[]} head
   * @param {any[]} rows
   */
  function fillTable(table, caption, head, rows) {
    /**
     * @param {any[]} cells
     * @param {'th' | 'td'} tag
     */
    const row = (cells, tag) =>
      add(
        make('tr'),
        ...cells.map((/** @type {string} */ text, /** @type {number} */ place) => {
          const cell = add(make(place ? tag : 'th'), make('bdi', '', String(text)));
          if (cell instanceof HTMLTableCellElement) cell.scope = tag === 'th' ? 'col' : 'row';
          return cell;
        }),
      );
    table.replaceChildren(
      make('caption', '', caption),
      add(make('thead'), row(head, 'th')),
      add(make('tbody'), ...rows.map((/** @type {any[]} */ cells) => row(cells, 'td'))),
    );
  }

  /**
   * @param {Record<string, any>} card
   * @param {any[]} rows
   */
  function showFailures(card, rows) {
    const most = rows[0]?.count ?? 0;
    fillTable(
      card.table,
      card.plot.title,
      [card.plot.what, 'Failures'],
      rows.map((/** @type {any} */ { label: text, count }) => [text, count]),
    );
    card.table.querySelectorAll('tbody tr').forEach((/** @type {any} */ line, /** @type {number} */ place) => {
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
      setText(card.nothing, plot.none ? plot.none() : `No order failed for good in the last ${rangeName()}.`);
      setText(card.aside, some && plot.aside ? plot.aside(found) : '');
      if (plot.series) {
        card.legend.hidden = !some;
        card.frame.hidden = !some;
        card.buckets = some ? found.map((/** @type {any} */ each) => ({ ...each })) : [];
        if (some) {
          paintPlot(card);
          /** @param {any} each */
          const cells = (each) => each.values.map((/** @type {any} */ value) => (value === null ? 'none' : plot.show(value)));
          const told = found.filter(
            (/** @type {any} */ each, /** @type {number} */ place) =>
              bounds.has(each.at ?? each.from) || place === found.length - 1,
          );
          fillTable(
            card.table,
            plot.title,
            ['Time', ...plot.series],
            told.map((/** @type {any} */ each) => [asBucket(each), ...cells(each)]),
          );
        }
        showTip(card, card.index !== null && card.index < card.buckets.length ? card.index : null);
      } else {
        showFailures(card, found);
      }
    }
    for (const button of /** @type {HTMLButtonElement[]} */ ([...ranges.children]))
      button.setAttribute('aria-pressed', String(Number(button.dataset.days) === charts.data.days));
    setText(zoneNote, charts.data.timezone.replaceAll('_', ' '));
    root.dataset.charts = String(charts.data.days);
  }

  const chartsAreSeen = () => root.dataset.view === 'charts' && !document.hidden;

  async function readCharts() {
    if (charts.timer !== null) clearTimeout(charts.timer);
    charts.timer = null;
    const { days } = charts;
    charts.turn += 1;
    const { turn } = charts;
    charts.asked = Date.now();
    const answer = await panel.gradio.call('charts', { days, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone });
    if (turn !== charts.turn) return; // another range was chosen meanwhile
    chartTrouble.hidden = !answer.problem;
    setText(chartTrouble, answer.problem ? `The charts could not be read: ${answer.problem}` : '');
    if (answer.problem) return;
    charts.data = days === null ? fromFirstValue(answer) : answer;
    if (chartsAreSeen()) showCharts();
  }

  on('view', (name) => {
    if (name === 'charts') readCharts();
  });
  on('tick', () => {
    if (chartsAreSeen() && Date.now() - charts.asked >= CHARTS_MS) readCharts();
  });
  on('summary', (counts) => {
    const key = JSON.stringify(Object.entries(counts).filter(([name]) => !['median', 'at'].includes(name)));
    if (key === charts.counts) return;
    charts.counts = key;
    if (chartsAreSeen()) charts.timer ??= setTimeout(readCharts, Math.max(charts.asked + CHART_PAUSE_MS - Date.now(), 0));
  });
  const chartsResized = new ResizeObserver(() => {
    if (charts.data && chartsAreSeen()) showCharts();
  });
  chartsResized.observe(grid);
  on('closed', () => chartsResized.disconnect());
}
