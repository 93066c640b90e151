// A card with a plot. The plot is one stop of the Tab key; pointer and arrow keys move a tip over it. Screen readers
// find its values in a table instead.

import { fillTable, newChartCard } from './chart-card.js';
import { add, draw, make, setText } from './dom.js';
import { createTimes } from './times.js';

/**
 * @typedef {import('./types.js').ChartData} ChartData
 * @typedef {import('./types.js').PlacedBucket} PlacedBucket
 * @typedef {import('./types.js').Plot} Plot
 * @typedef {ReturnType<typeof newPlotCard>} PlotCard
 */

const TIP_GAP = 14; // between the tip and the middle of its bucket, px

/**
 * The bucket that a key moves the tip to; null: none; undefined: the key does not move it.
 * @param {string} key
 * @param {number | null} index where the tip is
 * @param {number} last
 * @returns {number | null | undefined}
 */
export function nextIndex(key, index, last) {
  const now = index ?? last;
  /** @type {Record<string, number | null>} */
  const places = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null };
  const next = places[key];
  return typeof next === 'number' ? Math.min(Math.max(next, 0), last) : next;
}

/**
 * The left edge of the tip: right of its bucket, or left of it where the room ends.
 * @param {number} middle of the bucket, px
 * @param {number} tipWidth
 * @param {number} frameWidth
 */
export function tipLeft(middle, tipWidth, frameWidth) {
  const room = frameWidth - tipWidth;
  const left = middle < room - TIP_GAP ? middle + TIP_GAP : middle - tipWidth - TIP_GAP;
  return Math.max(0, Math.min(left, room));
}

/**
 * @param {import('./types.js').Panel} panel
 * @param {Plot} plot
 */
export function newPlotCard(panel, plot) {
  const card = {
    ...newChartCard(panel, plot.name, plot.title),
    plot,
    /** @type {number | null} Number of the bucket that the tip describes. */
    index: null,
    /** @type {PlacedBucket[]} */
    buckets: [],
    /** @type {ReturnType<typeof createTimes> | null} null until something is shown */
    times: null,
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
  card.table.className = 'wta-unseen';
  add(card.node, card.legend, add(card.frame, card.svg, card.tip), card.table);
  moveTipOnInput(card);
  return card;
}

/** @param {PlotCard} card */
function moveTipOnInput(card) {
  const { svg } = card;
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
  svg.addEventListener('keydown', (event) => {
    const next = nextIndex(event.key, card.index, card.buckets.length - 1);
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    showTip(card, next);
  });
}

/**
 * Moves the tip to a bucket, or takes it away.
 * @param {PlotCard} card
 * @param {number | null} index
 */
function showTip(card, index) {
  const { plot, tip, times, cursor } = card;
  card.index = index;
  const bucket = index === null ? undefined : card.buckets[index];
  tip.hidden = !bucket;
  if (!bucket || !times) {
    cursor?.setAttribute('width', '0');
    return;
  }
  const middle = (bucket.x0 + bucket.x1) / 2;
  cursor?.setAttribute('x', String(bucket.x1 > bucket.x0 ? bucket.x0 : middle - 0.75));
  cursor?.setAttribute('width', String(Math.max(bucket.x1 - bucket.x0, 1.5)));
  tip.replaceChildren(
    make('b', '', times.nameOf(bucket)),
    ...plot.series.map((name, place) => {
      const value = bucket.values[place];
      const shown = make('b', '', value === null ? '–' : plot.show(value));
      return make('span', '', make('i', `wta-key wta-key-${name}`), make('span', '', name), shown);
    }),
    make('small', '', plot.footer(bucket)),
  );
  tip.style.left = `${tipLeft(middle, tip.offsetWidth, card.frame.clientWidth)}px`;
}

/**
 * @param {PlotCard} card
 * @param {ChartData} data
 * @param {ReturnType<typeof import('./plots.js').createPlots>['paintPlot']} paintPlot
 * @returns {boolean} whether there is something to show
 */
export function showPlot(card, data, paintPlot) {
  const { plot, frame } = card;
  const buckets = data[plot.name];
  const isFilled = plot.hasValues(buckets);
  const times = createTimes(data);
  setText(card.aside, isFilled ? plot.aside(buckets, times.isDaily) : '');
  card.legend.hidden = !isFilled;
  frame.hidden = !isFilled;
  card.buckets = [];
  card.times = times;
  if (isFilled) {
    const { placed, cursor } = paintPlot(card.svg, plot, buckets, data, Math.max(frame.clientWidth, 240));
    card.buckets = placed;
    card.cursor = cursor;
    fillTable(card.table, plot.title, ['Time', ...plot.series], tableRows(plot, data, times));
  }
  showTip(card, card.index !== null && card.index < card.buckets.length ? card.index : null);
  return isFilled;
}

/**
 * A row per stretch of time; of the moments, those at which one begins, and the last.
 * @param {Plot} plot
 * @param {ChartData} data
 * @param {ReturnType<typeof createTimes>} times
 */
function tableRows(plot, data, times) {
  const bounds = new Set(data.raised.map(({ from }) => from));
  const buckets = data[plot.name];
  return buckets
    .filter((each, place) => bounds.has(each.at ?? each.from) || place === buckets.length - 1)
    .map((each) => [times.nameOf(each), ...each.values.map((value) => (value === null ? 'none' : plot.show(value)))]);
}
