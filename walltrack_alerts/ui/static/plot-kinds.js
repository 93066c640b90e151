// What each plot shows, and in which words. Pure functions.

import { countOf, sumOf, total } from './buckets.js';
import { SEVERITIES } from './constants.js';
import { plural, roundStep, roundTimeStep, shortTime } from './format.js';
import { TOOK } from './plots.js';

/**
 * @typedef {import('./types.js').Bucket} Bucket
 * @typedef {import('./types.js').Plot} Plot
 */

/**
 * @param {Pick<ReturnType<typeof import('./plots.js').createPlots>, 'paintAreas' | 'paintBars' | 'paintTimes'>} plots
 * @returns {Plot[]}
 */
export function describePlots({ paintAreas, paintBars, paintTimes }) {
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
