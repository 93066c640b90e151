import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countOf, fromFirstValue, sumOf, total } from '../../walltrack_alerts/ui/static/buckets.js';

const bucket = (from, values, count) => ({ from, to: from + 1, values, ...(count !== undefined && { count }) });

test('sums pass over what is unknown', () => {
  assert.deepEqual(
    [total([1, null, 2]), sumOf([bucket(0, [1]), bucket(1, [2, 3])]), countOf([bucket(0, [], 4), bucket(1, [])])],
    [3, 6, 4],
  );
});

test('charts begin with the first value of any of them', () => {
  const hours = [0, 1, 2, 3];
  const answer = {
    days: 1,
    timezone: 'UTC',
    raised: hours.map((from) => bucket(from, [from === 3 ? 1 : 0])),
    open: hours.map((at) => ({ at: at + 0.5, values: [at >= 2 ? 1 : 0] })),
    acknowledge: hours.map((from) => bucket(from, [null, null], 0)),
    resolve: hours.map((from) => bucket(from, [null, null], 0)),
    tokens: [{ label: 'BONK', count: 1 }],
  };
  const shown = fromFirstValue(answer);
  assert.deepEqual(
    shown.raised.map(({ from }) => from),
    [2, 3],
  );
  assert.equal(shown.open[0].at, 2.5);
  assert.deepEqual([shown.resolve.length, shown.tokens, shown.days], [2, answer.tokens, 1]);
});

test('charts without any value stay whole', () => {
  const answer = { raised: [bucket(0, [0])], open: [{ at: 0, values: [0] }], acknowledge: [], resolve: [] };
  assert.equal(fromFirstValue(answer), answer);
});

test('charts with a value in the first bucket stay whole', () => {
  const answer = {
    raised: [bucket(0, [1]), bucket(1, [1])],
    open: [{ at: 1, values: [1] }],
    acknowledge: [bucket(0, [null], 0), bucket(1, [5], 1)],
    resolve: [],
  };
  assert.equal(fromFirstValue(answer).raised.length, 2);
});
