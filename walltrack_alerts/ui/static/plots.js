// Draws a plot as SVG: the grid, the axis of time, and bars or areas.

import { SEVERITIES } from './constants.js';
import { add, draw } from './dom.js';
import { createTimes } from './times.js';

/**
 * @typedef {import('./types.js').Bucket} Bucket
 * @typedef {import('./types.js').PlacedBucket} PlacedBucket
 * @typedef {import('./types.js').Plot} Plot
 */

const PLOT = { height: 200, right: 10, top: 10, bottom: 26 };
const FLOOR = PLOT.height - PLOT.bottom;

/** What the charts of response times show, in seconds. */
export const TOOK = ['median', 'p95'];

/** @param {string} hatchId id of the pattern, one per panel */
export function createPlots(hatchId) {
  /**
   * Draws the buckets into an element.
   * @param {SVGSVGElement} svg
   * @param {Plot} plot
   * @param {Bucket[]} buckets
   * @param {import('./types.js').ChartData} data
   * @param {number} width
   * @returns {{ placed: PlacedBucket[], cursor: SVGRectElement }}
   */
  function paintPlot(svg, plot, buckets, data, width) {
    const { height, right, top } = PLOT;
    const { left } = plot;
    const start = buckets[0].at ?? buckets[0].from;
    const end = data.raised[data.raised.length - 1].to;
    /** @param {number} ms */
    const x = (ms) => left + ((ms - start) / (end - start)) * (width - left - right);
    const most = Math.max(...buckets.map(plot.highest));
    const step = plot.step(most);
    const highest = Math.max(Math.ceil(most / step), 1) * step;
    /** @param {number} value */
    const y = (value) => FLOOR - (value / highest) * (FLOOR - top);
    /** @type {SVGElement[]} */
    const nodes = [];
    for (let value = 0; value <= highest + step / 2; value += step) {
      const line = { x1: left, x2: width - right, y1: y(value), y2: y(value), class: value ? 'wta-gridline' : 'wta-floor' };
      nodes.push(draw('line', line));
      nodes.push(draw('text', { x: left - 7, y: y(value) + 4, 'text-anchor': 'end' }, value ? plot.show(value) : '0'));
    }
    nodes.push(...timeAxis(data, x, width - left - right));
    const placed = buckets.map((each) => ({ ...each, x0: x(each.at ?? each.from), x1: x(each.at ?? each.to) }));
    const cursor = draw('rect', { class: 'wta-cursor', y: top, height: FLOOR - top, width: 0 });
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('width', String(width));
    svg.setAttribute('height', String(height));
    svg.setAttribute(
      'aria-label',
      `${plot.title}: ${plot.aside(buckets, createTimes(data).isDaily)}. Arrow keys read it out in a tip.`,
    );
    svg.replaceChildren(hatching(), ...nodes, cursor, ...plot.paint(placed, y));
    return { placed, cursor };
  }

  /**
   * As many labels as fit.
   * @param {import('./types.js').ChartData} data
   * @param {(ms: number) => number} x
   * @param {number} width
   */
  function timeAxis(data, x, width) {
    const times = createTimes(data);
    const last = data.raised.length - 1;
    const least = Math.ceil(((times.isDaily ? 46 : 42) * data.raised.length) / width);
    const every = (times.isDaily ? [1, 2, 3, 5, 7, 10, 15] : [1, 2, 3, 4, 6, 12]).find((each) => each >= least) ?? 12;
    return data.raised.flatMap(({ from, to }, place) => {
      if (times.isDaily) {
        if ((last - place) % every) return [];
        return [draw('text', { x: (x(from) + x(to)) / 2, y: FLOOR + 18, 'text-anchor': 'middle' }, times.dayLabel(from))];
      }
      const hour = times.hourOf(from);
      if (hour % every) return [];
      return [
        draw('line', { x1: x(from), x2: x(from), y1: FLOOR, y2: FLOOR + 4, class: 'wta-floor' }),
        draw('text', { x: x(from), y: FLOOR + 18, 'text-anchor': 'middle' }, hour ? times.asTime(from) : times.asDate(from)),
      ];
    });
  }

  function hatching() {
    const pattern = draw('pattern', {
      id: hatchId,
      width: 5,
      height: 5,
      patternUnits: 'userSpaceOnUse',
      patternTransform: 'rotate(45)',
    });
    return add(draw('defs'), add(pattern, draw('rect', { width: 1.4, height: 5, class: 'wta-hatch' })));
  }

  /**
   * Color alone does not distinguish the severities: high ones are hatched.
   * @param {'rect' | 'polygon'} tag
   * @param {Record<string, string | number>} shape
   * @param {string} name
   */
  function filled(tag, shape, name) {
    const nodes = [draw(tag, { ...shape, class: `wta-fill wta-fill-${name}` })];
    if (name === 'high') nodes.push(draw(tag, { ...shape, fill: `url(#${hatchId})` }));
    return nodes;
  }

  /**
   * @param {PlacedBucket} bucket
   * @param {number} y0
   * @param {number} y1
   * @param {string} name
   */
  function bar({ x0, x1 }, y0, y1, name) {
    const gap = Math.min((x1 - x0) * 0.16, 4);
    const width = Math.min(x1 - x0 - 2 * gap, 44);
    const middle = (x0 + x1) / 2;
    return filled('rect', { x: middle - width / 2, width, y: y1, height: Math.max(y0 - y1, 0) }, name);
  }

  /** @type {Plot['paint']} */
  function paintBars(buckets, y) {
    return buckets.flatMap((bucket) => {
      let below = 0;
      return SEVERITIES.flatMap((name, index) => {
        const value = bucket.values[index] ?? 0;
        if (!value) return [];
        below += value;
        return bar(bucket, y(below - value), y(below), name);
      });
    });
  }

  /** @type {Plot['paint']} */
  function paintTimes(buckets, y) {
    const known = buckets.filter(({ count }) => count);
    // What took a moment is still seen.
    return [1, 0].flatMap((index) =>
      known.flatMap((bucket) => bar(bucket, FLOOR, Math.min(y(bucket.values[index] ?? 0), FLOOR - 2), TOOK[index])),
    );
  }

  /** @type {Plot['paint']} */
  function paintAreas(points, y) {
    let below = points.map(() => 0);
    return SEVERITIES.flatMap((name, index) => {
      const above = points.map(({ values }, place) => below[place] + (values[index] ?? 0));
      /** @param {number[]} heights */
      const line = (heights) => points.map(({ x0 }, place) => `${x0.toFixed(1)},${y(heights[place]).toFixed(1)}`);
      const area = filled('polygon', { points: [...line(above), ...line(below).reverse()].join(' ') }, name);
      below = above;
      return points.some(({ values }) => values[index]) ? area : [];
    });
  }

  return { paintAreas, paintBars, paintPlot, paintTimes };
}
