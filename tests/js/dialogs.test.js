import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeConsequences } from '../../walltrack_alerts/ui/static/order-dialog.js';
import { SNOOZES } from '../../walltrack_alerts/ui/static/snooze-dialog.js';

test('snoozes end after their time', () => {
  const now = new Date(2026, 11, 31, 23, 59).getTime();
  const minutes = SNOOZES.map(([, until]) => (until(now) - now) / 60e3);
  assert.deepEqual(minutes, [15, 60, 240, 541]);
});

test('a retry names the stake', () => {
  const [real, simulated] = [false, true].map((each) => describeConsequences('retry', { kind: 'exit', simulated: each }).join());
  assert.match(real, /real money/);
  assert.match(simulated, /no funds are at risk/);
});

test('a cancelled exit leaves its position open', () => {
  const [real, simulated] = [false, true].map((each) => describeConsequences('cancel', { kind: 'exit', simulated: each }).join());
  assert.match(real, /Close it by hand/);
  assert.match(simulated, /The simulated position stays open/);
  assert.doesNotMatch(describeConsequences('cancel', { kind: 'entry', simulated: false }).join(), /position/);
});
