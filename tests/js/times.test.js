import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createTimes } from '../../walltrack_alerts/ui/static/times.js';

const HOUR = 3600e3;
const FRIDAY = Date.UTC(2026, 0, 2, 15); // 00:00 of Saturday in Tokyo

test('a bucket is named in the zone of the charts', () => {
  const [day, week] = [1, 7].map((days) => createTimes({ timezone: 'Asia/Tokyo', days }));
  const bucket = { from: FRIDAY, to: FRIDAY + HOUR, values: [] };
  assert.match(day.nameOf(bucket), /\b3\b.*00:00–01:00$/);
  assert.match(week.nameOf(bucket), /^[^:]*\b3\b[^:]*$/);
  assert.match(week.nameOf({ ...bucket, at: FRIDAY + HOUR / 2 }), /\b3\b.*00:30$/);
});

test('days show the month only where weekdays repeat', () => {
  const [week, month] = [7, 30].map((days) => createTimes({ timezone: 'Asia/Tokyo', days }));
  assert.match(week.dayLabel(FRIDAY), /^\D+3\D*$/);
  assert.match(month.dayLabel(FRIDAY), /\b3\b/);
  assert.notEqual(month.dayLabel(FRIDAY), week.dayLabel(FRIDAY));
});

test('hours are those of the zone', () => {
  assert.equal(createTimes({ timezone: 'Asia/Tokyo', days: 1 }).hourOf(FRIDAY), 0);
  assert.equal(createTimes({ timezone: 'America/New_York', days: 1 }).hourOf(FRIDAY), 10);
});
