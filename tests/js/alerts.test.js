import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  comparePlaces,
  createNewAlertTracker,
  isSnoozed,
  mergeFirstPage,
  mergeFurtherPage,
  nextPageLimit,
  statusOf,
  withPending,
} from '../../walltrack_alerts/ui/static/alerts.js';

/** @param {string} id */
const open = (id, place = Number(id)) => ({ id, place: [0, 0, place], status: 'active', by: '', snoozed: null });
const ids = (alerts) => alerts.map((alert) => alert.id).join('');
const list = (names) => [...names].map((id) => open(id));

test('the most urgent severity comes first, then the oldest', () => {
  const alerts = [
    { id: 'a', place: [0, 1, 1] },
    { id: 'b', place: [0, 0, 2] },
    { id: 'c', place: [1, 0, -5] },
    { id: 'd', place: [0, 0, 1] },
  ];
  assert.equal(ids(alerts.sort(comparePlaces)), 'dbac');
});

test('ids decide between equals, backwards among resolved alerts', () => {
  assert.ok(comparePlaces({ id: 'a', place: [0, 0, 1] }, { id: 'b', place: [0, 0, 1] }) < 0);
  assert.ok(comparePlaces({ id: 'a', place: [1, 0, 1] }, { id: 'b', place: [1, 0, 1] }) > 0);
  assert.equal(comparePlaces({ id: 'a', place: [0, 0, 1] }, { id: 'a', place: [0, 0, 1] }), 0);
});

test('a first page that is whole replaces the list', () => {
  const merged = mergeFirstPage({ alerts: list('123456'), next: 'on' }, { alerts: list('24'), next: null, changed: [] }, []);
  assert.deepEqual([ids(merged.alerts), merged.next], ['24', null]);
});

test('rows beyond the first page stay', () => {
  const merged = mergeFirstPage({ alerts: list('123456'), next: 'on' }, { alerts: list('123'), next: '3', changed: [] }, []);
  assert.deepEqual([ids(merged.alerts), merged.next], ['123456', 'on']);
});

test('a changed alert beyond the first page moves or leaves', () => {
  const before = { alerts: list('123456'), next: 'on' };
  const left = mergeFirstPage(before, { alerts: list('123'), next: '3', changed: [] }, ['5']);
  assert.equal(ids(left.alerts), '12346');
  const moved = mergeFirstPage(before, { alerts: list('123'), next: '3', changed: [open('5', 3.5)] }, ['5']);
  assert.equal(ids(moved.alerts), '123546');
});

test('a changed alert beyond the loaded rows is not shown', () => {
  const answer = { alerts: list('12'), next: '2', changed: [open('9')] };
  assert.equal(ids(mergeFirstPage({ alerts: list('123'), next: 'on' }, answer, ['9']).alerts), '123');
  assert.equal(ids(mergeFirstPage({ alerts: list('123'), next: null }, answer, ['9']).alerts), '1239');
});

test('with nothing beyond it the first page has the cursor', () => {
  const merged = mergeFirstPage({ alerts: list('12'), next: null }, { alerts: list('123'), next: '3', changed: [] }, []);
  assert.deepEqual([ids(merged.alerts), merged.next], ['123', '3']);
});

test('an empty first page keeps rare matches beyond it', () => {
  const merged = mergeFirstPage({ alerts: list('56'), next: 'on' }, { alerts: [], next: '4', changed: [] }, []);
  assert.deepEqual([ids(merged.alerts), merged.next], ['56', 'on']);
});

test('a further page repeats no row', () => {
  assert.equal(ids(mergeFurtherPage(list('124'), list('345'))), '12345');
});

test('a list read again grows little beyond new alerts', () => {
  assert.deepEqual([nextPageLimit(100, 250, 500), nextPageLimit(250, 250, 500), nextPageLimit(251, 250, 500)], [150, 1, 2]);
  assert.equal(nextPageLimit(0, 9000, 500), 500);
});

test('an alert shows the action on its way', () => {
  const action = { ids: ['1'], actor: 'ada' };
  const alert = open('1');
  assert.deepEqual(withPending(alert, []), alert);
  assert.deepEqual(withPending(open('2'), [{ ...action, kind: 'resolve' }]), open('2'));
  const acknowledged = withPending(alert, [{ ...action, kind: 'acknowledge' }]);
  assert.deepEqual([acknowledged.status, acknowledged.by, acknowledged.pending], ['acknowledged', 'ada', true]);
  assert.equal(withPending(alert, [{ ...action, kind: 'resolve' }]).status, 'resolved');
  assert.equal(withPending({ ...alert, snoozed: 5 }, [{ ...action, kind: 'snooze', until: null }]).snoozed, null);
  assert.deepEqual(withPending(alert, [{ ...action, kind: 'retry' }]), { ...alert, pending: true });
});

test('a snooze ends by the clock and by resolving', () => {
  assert.equal(isSnoozed({ ...open('1'), snoozed: 10 }, 9), true);
  assert.equal(isSnoozed({ ...open('1'), snoozed: 10 }, 10), false);
  assert.equal(isSnoozed({ ...open('1'), snoozed: 10, status: 'resolved' }, 9), false);
});

test('a snoozed alert says until when and who acknowledged it', () => {
  const [status, until, by] = statusOf(
    { ...open('1'), status: 'acknowledged', by: 'ada', snoozed: Date.now() + 60_000 },
    Date.now(),
  );
  assert.deepEqual([status, by], ['snoozed', 'by ada']);
  assert.match(until, /^until .*\d\d:\d\d$/);
  assert.deepEqual(statusOf({ ...open('1'), status: 'acknowledged', by: 'ada' }, 0), ['acknowledged', 'by ada', '']);
  assert.deepEqual(statusOf({ ...open('1'), by: 'ada' }, 0), ['active', '', '']);
});

test('only alerts that begin to ring are new', () => {
  const tracker = createNewAlertTracker();
  const ringing = (id, rings) => ({ id, rings });
  assert.deepEqual(tracker.find([ringing('a', 1)], 0), []); // rang when the page opened
  assert.equal(ids(tracker.find([ringing('a', 1), ringing('b', 2)], 0)), 'b');
  assert.deepEqual(tracker.find([ringing('b', 2)], 0), []);
  assert.deepEqual(tracker.find([ringing('a', 3)], 0), []); // woken from a snooze
});

test('an old alert read late is not new', () => {
  const tracker = createNewAlertTracker();
  tracker.find([{ id: 'b', rings: 20 }], 20); // only the newest were read
  assert.deepEqual(tracker.find([{ id: 'a', rings: 10 }], 0), []);
});
