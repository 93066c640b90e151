import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextIndex, tipLeft } from '../../walltrack_alerts/ui/static/plot-card.js';
import { describePlots } from '../../walltrack_alerts/ui/static/plot-kinds.js';

const bucket = (values, count) => ({ from: 0, to: 1, values, count });

test('keys move the tip within the buckets', () => {
  assert.deepEqual(
    [nextIndex('ArrowLeft', null, 5), nextIndex('ArrowLeft', 0, 5), nextIndex('ArrowRight', 5, 5), nextIndex('ArrowRight', 2, 5)],
    [4, 0, 5, 3],
  );
  assert.deepEqual([nextIndex('Home', 3, 5), nextIndex('End', 3, 5)], [0, 5]);
  assert.deepEqual([nextIndex('Escape', 3, 5), nextIndex('x', 3, 5)], [null, undefined]);
});

test('the tip stays within the plot', () => {
  assert.equal(tipLeft(100, 80, 600), 114);
  assert.equal(tipLeft(590, 80, 600), 496);
  assert.equal(tipLeft(50, 80, 100), 0);
});

test('plots sum their buckets up in words', () => {
  const [raised, open, acknowledge, resolve] = describePlots({});
  const buckets = [bucket([1, 0, 0, 0]), bucket([0, 2, null, 0])];
  assert.deepEqual([raised.aside(buckets, false), raised.aside(buckets, true)], ['3 by hour', '3 by day']);
  assert.equal(open.aside(buckets), '2 now');
  assert.equal(raised.footer(buckets[1]), '2 in total');
  assert.equal(acknowledge.aside([bucket([1, 2], 4), bucket([null, null], 0)]), '4 acknowledged');
  assert.deepEqual(
    [resolve.footer(bucket([1, 2], 1)), resolve.footer(bucket([null, null], 0))],
    ['1 alert resolved', 'none resolved'],
  );
});

test('a plot of unknown response times is empty', () => {
  const acknowledge = describePlots({}).find(({ name }) => name === 'acknowledge');
  assert.ok(!acknowledge.hasValues([bucket([null, null], 0)]));
  assert.ok(acknowledge.hasValues([bucket([3, 9], 1)]));
  assert.equal(acknowledge.highest(bucket([3, 9], 1)), 9);
});
