// The numbers of the charts. Pure functions.

/** @typedef {import('./types.js').Bucket} Bucket */

/** @param {(number | null)[]} values */
export const total = (values) => values.reduce((/** @type {number} */ sum, value) => sum + (value ?? 0), 0);

/** @param {Bucket[]} buckets */
export const sumOf = (buckets) => total(buckets.map((each) => total(each.values)));

/** @param {Bucket[]} buckets */
export const countOf = (buckets) => total(buckets.map((each) => each.count ?? 0));

/** @type {import('./types.js').PlotName[]} */
const OVER_TIME = ['raised', 'open', 'acknowledge', 'resolve'];

/**
 * The charts from the first bucket on that shows something: a young database would fill only an edge of them.
 * @param {import('./types.js').ChartData} answer
 * @returns {import('./types.js').ChartData}
 */
export function fromFirstValue(answer) {
  const buckets = [answer.raised, answer.acknowledge, answer.resolve].map((all) =>
    all.findIndex(({ values, count = total(values) }) => count > 0),
  );
  const opened = answer.open.find(({ values }) => total(values) > 0)?.at;
  if (opened !== undefined) buckets.push(answer.raised.findLastIndex(({ from }) => from <= opened));
  const first = Math.min(...buckets.filter((index) => index >= 0));
  if (!Number.isFinite(first)) return answer;
  const { from } = answer.raised[first];
  const later = Object.fromEntries(
    OVER_TIME.map((name) => [name, answer[name].filter((each) => (each.at ?? each.from) >= from)]),
  );
  return { ...answer, ...later };
}
