import assert from 'node:assert/strict';
import { test } from 'node:test';
import { badgeText } from '../../walltrack_alerts/ui/static/favicon.js';
import { describeNewAlerts } from '../../walltrack_alerts/ui/static/notifications.js';

const alert = (id, more = {}) => ({
  id,
  token: 'BONK',
  title: 'EXIT Order Failed',
  error: 'slippage',
  message: '',
  simulated: false,
  ...more,
});

test('each new alert has a notification that opens it', () => {
  assert.deepEqual(describeNewAlerts([alert('a'), alert('b', { token: '', error: '', message: 'Text' })]), [
    { title: 'BONK: EXIT Order Failed', body: 'slippage', alertId: 'a' },
    { title: 'EXIT Order Failed', body: 'Text', alertId: 'b' },
  ]);
});

test('a simulated order is marked before anything else', () => {
  assert.match(describeNewAlerts([alert('a', { simulated: true })])[0].title, /^SIMULATED BONK/);
});

test('many new alerts share one notification', () => {
  const alerts = ['a', 'b', 'c', 'd'].map((id) => alert(id));
  assert.deepEqual(describeNewAlerts(alerts), [{ title: '4 new critical alerts', body: 'BONK, BONK, BONK, BONK' }]);
  assert.equal(describeNewAlerts(alerts.slice(1)).length, 3);
});

test('the icon of the tab counts to 99', () => {
  assert.deepEqual([0, 7, 99, 100].map(badgeText), ['0', '7', '99', '99+']);
});
