// The charts, read when they are shown. Time runs in the viewer's zone. Each plot is one stop of the Tab key; the arrow keys
// walk over it. A table that only screen readers find says the same in words; the two lists of failures are tables anyway.

import { countOf, fromFirstValue, sumOf, total } from './buckets.js';
import { SEVERITIES } from './constants.js';
import { add, draw, make, setText } from './dom.js';
import { plural, roundStep, roundTimeStep, shortTime } from './format.js';
import { createPlots, TOOK } from './plots.js';
import { storage } from './storage.js';
import { createTimes } from './times.js';

/**
 * @typedef {import('./types.js').Bucket} Bucket
 * @typedef {import('./types.js').ChartData} ChartData
 * @typedef {import('./types.js').Failures} Failures
 * @typedef {import('./types.js').PlacedBucket} PlacedBucket
 * @typedef {import('./types.js').Plot} Plot
 */

const CHARTS_MS = 60000; // how old shown charts may be
const CHART_PAUSE_MS = 1000; // between two readings because alerts change
const DAYS_KEY = 'walltrack-alerts.days';
/** @type {[number, string, string][]} days, label, name */
const RANGES = [
  [1, '24 h', '24 hours'],
  [7, '7 d', '7 days'],
  [30, '30 d', '30 days'],
];
/** @type {{ name: 'tokens' | 'errors', title: string, what: string }[]} */
const LISTS = [
  { name: 'tokens', title: 'Failed orders by token', what: 'Token' },
  { name: 'errors', title: 'Failed orders by error', what: 'Error' },
];

/** @param {ReturnType<typeof createPlots>} plots @returns {Plot[]} */
function describePlots({ paintAreas, paintBars, paintTimes }) {
  /**
   * @param {'acknowledge' | 'resolve'} name
   * @param {string} done
   * @returns {Plot}
   */
  const responses = (name, done) => ({
    name,
    title: `Time to ${name}`,
    series: TOOK,
    left: 54,
    show: shortTime,
    step: roundTimeStep,
    paint: paintTimes,
    highest: ({ values }) => values[1] ?? 0,
    hasValues: (buckets) => countOf(buckets) > 0,
    aside: (buckets) => `${countOf(buckets)} ${done}`,
    none: `No alert was ${done}`,
    footer: ({ count }) => (count ? `${plural(count, 'alert')} ${done}` : `none ${done}`),
  });
  const ofSeverities = {
    series: SEVERITIES,
    left: 40,
    show: String,
    step: roundStep,
    highest: (/** @type {Bucket} */ { values }) => total(values),
    hasValues: (/** @type {Bucket[]} */ buckets) => sumOf(buckets) > 0,
    footer: (/** @type {Bucket} */ { values }) => `${total(values)} in total`,
  };
  return [
    {
      ...ofSeverities,
      name: 'raised',
      title: 'Alerts raised',
      paint: paintBars,
      aside: (buckets, isDaily) => `${sumOf(buckets)} ${isDaily ? 'by day' : 'by hour'}`,
      none: 'No alerts were raised',
    },
    {
      ...ofSeverities,
      name: 'open',
      title: 'Open alerts',
      paint: paintAreas,
      aside: (points) => `${total(points[points.length - 1].values)} now`,
      none: 'No alert was open',
    },
    responses('acknowledge', 'acknowledged'),
    responses('resolve', 'resolved'),
  ];
}

/** @param {import('./types.js').Panel} panel */
export function createCharts(panel) {
  const { id, makeButton, root, on } = panel;

  const plots = createPlots(id('hatch'));
  const charts = {
    days: RANGES.some(([days]) => String(days) === storage.get(DAYS_KEY)) ? Number(storage.get(DAYS_KEY)) : null, // null: none was chosen
    data: /** @type {ChartData | null} */ (null), // null until it is read
    counts: '',
    asked: 0,
    turn: 0,
    timer: /** @type {ReturnType<typeof setTimeout> | null} */ (null),
  };

  // ---- the cards ----

  /**
   * @param {string} name
   * @param {string} title
   */
  function newCard(name, title) {
    const aside = make('span', 'wta-muted');
    const nothing = make('p', 'wta-chart-none');
    const node = make(
      'section',
      { className: 'wta-chart', id: id(`chart-${name}`), ariaLabel: title },
      make('header', '', make('h3', '', title), aside),
      nothing,
    );
    return { key: '', node, aside, nothing, table: make('table') };
  }

  /** @typedef {ReturnType<typeof newPlotCard>} PlotCard */

  /** @param {Plot} plot */
  function newPlotCard(plot) {
    const card = {
      ...newCard(plot.name, plot.title),
      plot,
      /** @type {number | null} Number of the bucket that the tip describes. */
      index: null,
      /** @type {PlacedBucket[]} */
      buckets: [],
      /** @type {SVGRectElement | null} */
      cursor: null,
      tip: make('div', { className: 'wta-tip', hidden: true }),
      svg: draw('svg', { tabindex: 0, role: 'img', 'aria-label': plot.title }),
      frame: make('div', 'wta-plot'),
      legend: make(
        'ul',
        { className: 'wta-legend', ariaHidden: 'true' },
        ...plot.series.map((name) => make('li', '', make('i', `wta-key wta-key-${name}`), name)),
      ),
    };
    const { legend, svg } = card;
    card.table.className = 'wta-unseen';
    add(card.node, legend, add(card.frame, svg, card.tip), card.table);
    /** @param {PointerEvent} event */
    const point = ({ clientX }) => {
      const x = clientX - svg.getBoundingClientRect().left;
      const distance = card.buckets.map(({ x0, x1 }) => Math.abs((x0 + x1) / 2 - x));
      showTip(card, distance.indexOf(Math.min(...distance)));
    };
    svg.addEventListener('pointermove', point);
    svg.addEventListener('pointerdown', point);
    svg.addEventListener('pointerleave', ({ pointerType }) => {
      if (pointerType === 'mouse') showTip(card, null);
    });
    svg.addEventListener('blur', () => showTip(card, null));
    svg.addEventListener('focus', () => {
      if (svg.matches(':focus-visible')) showTip(card, card.buckets.length - 1);
    });
    svg.addEventListener('keydown', (event) => onKey(card, event));
    return card;
  }

  /**
   * @param {PlotCard} card
   * @param {KeyboardEvent} event
   */
  function onKey(card, event) {
    const last = card.buckets.length - 1;
    const now = card.index ?? last;
    /** @type {Record<string, number | null>} */
    const places = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null };
    const next = places[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    showTip(card, next === null ? null : Math.min(Math.max(next, 0), last));
  }

  /** @param {typeof LISTS[number]} list */
  function newListCard(list) {
    const card = { ...newCard(list.name, list.title), list };
    add(card.node, card.table);
    return card;
  }

  const plotCards = describePlots(plots).map(newPlotCard);
  const listCards = LISTS.map(newListCard);

  const ranges = make('div', { className: 'wta-ranges', ariaLabel: 'Time range', role: 'group' });
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
  const chartTrouble = make('p', { className: 'wta-banner', hidden: true });
  const grid = make('div', 'wta-charts');
  add(
    panel.frame.pages.charts,
    make('div', 'wta-charts-head', ranges, zoneNote),
    chartTrouble,
    add(grid, ...[...plotCards, ...listCards].map((card) => card.node)),
  );

  // ---- what they show ----

  /**
   * Moves the tip to a bucket, or takes it away.
   * @param {PlotCard} card
   * @param {number | null} index
   */
  function showTip(card, index) {
    const { plot, tip, cursor } = card;
    card.index = index;
    const bucket = index === null ? undefined : card.buckets[index];
    tip.hidden = !bucket;
    if (!bucket || !charts.data) {
      cursor?.setAttribute('width', '0');
      return;
    }
    const middle = (bucket.x0 + bucket.x1) / 2;
    cursor?.setAttribute('x', String(bucket.x1 > bucket.x0 ? bucket.x0 : middle - 0.75));
    cursor?.setAttribute('width', String(Math.max(bucket.x1 - bucket.x0, 1.5)));
    tip.replaceChildren(
      make('b', '', createTimes(charts.data).nameOf(bucket)),
      ...plot.series.map((name, place) => {
        const value = bucket.values[place];
        const shown = make('b', '', value === null ? '–' : plot.show(value));
        return make('span', '', make('i', `wta-key wta-key-${name}`), make('span', '', name), shown);
      }),
      make('small', '', plot.footer(bucket)),
    );
    const room = card.frame.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(middle < room - 14 ? middle + 14 : middle - tip.offsetWidth - 14, room))}px`;
  }

  /**
   * @param {HTMLTableElement} table
   * @param {string} caption
   * @param {string[]} head
   * @param {string[][]} rows
   */
  function fillTable(table, caption, head, rows) {
    /**
     * @param {string[]} cells
     * @param {'th' | 'td'} tag
     */
    const row = (cells, tag) =>
      make(
        'tr',
        '',
        ...cells.map((text, place) => {
          const cell = make(place ? tag : 'th', '', make('bdi', '', text));
          cell.scope = tag === 'th' ? 'col' : 'row';
          return cell;
        }),
      );
    table.replaceChildren(
      make('caption', '', caption),
      make('thead', '', row(head, 'th')),
      make('tbody', '', ...rows.map((cells) => row(cells, 'td'))),
    );
  }

  /**
   * @param {PlotCard} card
   * @param {ChartData} data
   */
  function showPlot(card, data) {
    const { plot, frame } = card;
    const found = data[plot.name];
    const some = plot.hasValues(found);
    const times = createTimes(data);
    setText(card.aside, some ? plot.aside(found, times.isDaily) : '');
    card.legend.hidden = !some;
    frame.hidden = !some;
    card.buckets = [];
    if (some) {
      const { placed, cursor } = plots.paintPlot(card.svg, plot, found, data, Math.max(frame.clientWidth, 240));
      card.buckets = placed;
      card.cursor = cursor;
      const bounds = new Set(data.raised.map(({ from }) => from));
      const told = found.filter((each, place) => bounds.has(each.at ?? each.from) || place === found.length - 1);
      const cells = told.map((each) => [
        times.nameOf(each),
        ...each.values.map((value) => (value === null ? 'none' : plot.show(value))),
      ]);
      fillTable(card.table, plot.title, ['Time', ...plot.series], cells);
    }
    showTip(card, card.index !== null && card.index < card.buckets.length ? card.index : null);
    return some;
  }

  /**
   * @param {ReturnType<typeof newListCard>} card
   * @param {Failures[]} failures
   */
  function showFailures({ list, table }, failures) {
    const most = failures[0]?.count ?? 0;
    const cells = failures.map((each) => [each.label, String(each.count)]);
    fillTable(table, list.title, [list.what, 'Failures'], cells);
    for (const [place, { label: name, more, aside, count }] of failures.entries()) {
      const [head, number] = table.tBodies[0].rows[place].cells;
      head.title = more || name;
      if (aside) head.append(make('small', '', aside));
      const strip = make('i', 'wta-strip');
      strip.style.width = `${(count / most) * 100}%`;
      number.prepend(strip);
    }
    return failures.length > 0;
  }

  /**
   * Redraws a card if its data has changed.
   * @param {ReturnType<typeof newCard>} card
   * @param {unknown[]} content
   * @param {string} none
   * @param {() => boolean} show whether there was something to show
   */
  function refresh(card, content, none, show) {
    const key = JSON.stringify(content);
    if (key === card.key) return;
    card.key = key;
    const some = show();
    card.node.dataset.some = String(some);
    card.nothing.hidden = some;
    card.table.hidden = !some;
    setText(card.nothing, none);
  }

  /** @param {ChartData} data */
  function showCharts(data) {
    const range = RANGES.find(([days]) => days === data.days)?.[2] ?? `${data.days} days`;
    const around = [data.days, data.timezone, data.raised.map(({ from }) => from), grid.clientWidth];
    for (const card of plotCards) {
      const none = `${card.plot.none} in the last ${range}.`;
      refresh(card, [data[card.plot.name], ...around], none, () => showPlot(card, data));
    }
    for (const card of listCards) {
      const failures = data[card.list.name];
      refresh(card, [failures, data.days], `No order failed permanently in the last ${range}.`, () =>
        showFailures(card, failures),
      );
    }
    for (const button of /** @type {HTMLButtonElement[]} */ ([...ranges.children]))
      button.setAttribute('aria-pressed', String(Number(button.dataset.days) === data.days));
    setText(zoneNote, data.timezone.replaceAll('_', ' '));
    root.dataset.charts = String(data.days);
    root.dataset.chartsRead = String(Number(root.dataset.chartsRead ?? 0) + 1);
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
    if (turn !== charts.turn) return; // another range has been chosen since
    chartTrouble.hidden = answer.problem === undefined;
    setText(chartTrouble, answer.problem === undefined ? '' : `The charts could not be read: ${answer.problem}`);
    if (answer.signedOut) panel.reader.showProblem(answer);
    if (answer.problem !== undefined) return;
    charts.data = days === null ? fromFirstValue(answer) : answer;
    if (chartsAreSeen()) showCharts(charts.data);
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
    if (charts.data && chartsAreSeen()) showCharts(charts.data);
  });
  chartsResized.observe(grid);
  on('closed', () => chartsResized.disconnect());
}
