import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  capital,
  clock,
  cut,
  distance,
  duration,
  localizeTimes,
  plural,
  roundStep,
  roundTimeStep,
  shortTime,
} from '../../walltrack_alerts/ui/static/format.js';

test('a duration shows its two largest units', () => {
  const shown = [0, -5, 59_999, 60_000, 3_599_000, 3_600_000, 86_399_000, 86_400_000, 90 * 3_600_000].map(duration);
  assert.deepEqual(shown, ['0s', '0s', '59s', '1m 00s', '59m 59s', '1h 00m', '23h 59m', '1d 0h', '3d 18h']);
});

test('a distance counts to a time and from it', () => {
  assert.deepEqual(
    [distance(0, 65_000, ' ago'), distance(65_000, 0, ' ago'), distance(500, 0)],
    ['1m 05s ago', 'in 1m 05s', '0s'],
  );
});

test('a clock names the day unless it is today', () => {
  const noon = new Date(2026, 2, 5, 12, 34, 56).getTime();
  assert.match(clock(noon, { now: noon + 1000 }), /^12:34:56$/);
  assert.match(clock(noon, { now: noon + 1000, seconds: false }), /^12:34$/);
  assert.match(clock(noon, { now: noon + 86_400_000 }), /5.*12:34:56$/);
});

test("times of the database show in the viewer's zone", () => {
  const text = localizeTimes('locked until 2026-03-05 12:34:56 UTC.');
  assert.ok(text.endsWith(`${clock(Date.UTC(2026, 2, 5, 12, 34, 56))}.`));
  assert.equal(localizeTimes('at 12:34'), 'at 12:34');
});

test('counts take the singular for one only', () => {
  assert.deepEqual([plural(0, 'alert'), plural(1, 'alert'), plural(2, 'entry', 'entries')], ['0 alerts', '1 alert', '2 entries']);
});

test('texts are cut to a length with an ellipsis', () => {
  assert.deepEqual([cut('abc', 3), cut('abcd', 3), capital('exit'), capital('')], ['abc', 'ab…', 'Exit', '']);
});

test('axes are divided by round numbers', () => {
  assert.deepEqual(
    [0, 1, 4, 5, 9, 37, 99, 1234].map((most) => roundStep(most)),
    [1, 1, 1, 2, 5, 10, 50, 500],
  );
  assert.deepEqual([1, 50, 600, 90_000, 900_000].map(roundTimeStep), [1, 15, 300, 43_200, 432_000]);
});

test('a time on an axis takes its largest unit', () => {
  assert.deepEqual([3, 90, 5400, 129_600].map(shortTime), ['3 s', '1.5 min', '1.5 h', '1.5 d']);
});
