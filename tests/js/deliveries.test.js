import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSilence } from '../../walltrack_alerts/ui/static/alerts.js';
import {
  describeDelivery,
  describeFilter,
  describeMatches,
  describeRelays,
  nameDeliveries,
  stateOf,
} from '../../walltrack_alerts/ui/static/deliveries.js';

/** The whole sentence. */
const sentence = (kind, more = {}) => {
  const [before, after] = describeDelivery({ kind, status: null, inDigest: false, ...more });
  return `${before} to hook${after}`;
};

test('a delivery is described in a sentence', () => {
  assert.equal(sentence('delivered'), 'Delivered to hook');
  assert.equal(sentence('delivered', { inDigest: true }), 'Delivered to hook in a digest');
  assert.equal(sentence('delivery failed', { status: 500 }), 'Delivery to hook failed: 500');
  assert.equal(sentence('delivery failed'), 'Delivery to hook failed');
  assert.equal(sentence('delivery dropped'), 'Delivery to hook dropped');
  assert.equal(sentence('delivery cancelled'), 'Delivery to hook cancelled');
  assert.equal(sentence('delivery silenced'), 'Delivery to hook silenced');
});

test('other entries of the timeline are no deliveries', () => {
  for (const kind of ['raised', 'acknowledged', 'order retried', 'toString']) assert.equal(describeDelivery({ kind }), null);
});

test('without a relay the view names the consequence', () => {
  const targets = [{ enabled: true }];
  assert.equal(describeRelays({ relays: 1, relaySeen: 0, targets }, 9), '1 relay running');
  assert.equal(describeRelays({ relays: 3, relaySeen: 0, targets }, 9), '3 relays running');
  assert.equal(describeRelays({ relays: 0, relaySeen: null, targets }, 9), 'No relay is running: nothing is delivered.');
  assert.equal(
    describeRelays({ relays: 0, relaySeen: 0, targets }, 300e3),
    'No relay has been seen for 5m 00s: nothing is delivered.',
  );
  assert.equal(describeRelays({ relays: 0, relaySeen: null, targets: [{ enabled: false }] }, 9), 'No relay is running.');
});

test('a disabled target is not called failing', () => {
  assert.equal(stateOf({ enabled: true, isFailing: false }), 'enabled');
  assert.equal(stateOf({ enabled: true, isFailing: true }), 'failing');
  assert.equal(stateOf({ enabled: false, isFailing: true }), 'disabled');
});

test('a filter is described in words', () => {
  assert.equal(describeFilter({ severity: 'info', step: 0 }), 'all severities');
  assert.equal(describeFilter({ severity: 'high', step: 0 }), 'high and above');
  assert.equal(describeFilter({ severity: 'critical', step: 1 }), 'critical only, from escalation step 1');
});

test('of many deliveries only the first are named', () => {
  const letter = (title) => ({ title, target: 'hook', event: 'raised' });
  assert.equal(nameDeliveries([letter('A'), letter('')]), 'A (raised) to hook; a deleted alert (raised) to hook');
  assert.ok(nameDeliveries(['A', 'B', 'C', 'D', 'E'].map(letter)).endsWith('C (raised) to hook; and 2 more'));
});

test('matchers are described with their names', () => {
  const matches = [
    ['token', 'BONK'],
    ['order type', 'exit'],
  ];
  assert.equal(describeMatches(matches), 'token BONK, order type exit');
});

test('a silence applies to open alerts until it ends', () => {
  const silenced = { until: Date.now() + 60e3, by: 'ada', reason: 'known' };
  assert.match(describeSilence({ silenced, status: 'active' }, Date.now()), /^silenced until .*\d\d:\d\d$/);
  assert.equal(describeSilence({ silenced, status: 'resolved' }, Date.now()), '');
  assert.equal(describeSilence({ silenced, status: 'active' }, silenced.until), '');
  assert.equal(describeSilence({ silenced: null, status: 'active' }, Date.now()), '');
});
