import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock } from '../../walltrack_alerts/ui/static/format.js';
import {
  canSendRest,
  describeOutcome,
  describeOutcomes,
  describeUnsentNote,
  isSettled,
  localizeOutcome,
} from '../../walltrack_alerts/ui/static/outcomes.js';

const done = { outcome: 'done', text: '' };
const late = { outcome: 'late', text: 'ada resolved it.' };
const refused = { outcome: 'refused', text: 'Not an operator.' };

test('an outcome names who acted first', () => {
  const first = { by: 'ada', did: 'resolved', at: Date.now() };
  assert.equal(localizeOutcome({ ...late, first }).text, `ada resolved it at ${clock(first.at)}, before you.`);
  assert.equal(localizeOutcome(late).text, late.text);
});

test('a refusal or a lost database stops the rest', () => {
  assert.ok(canSendRest([refused, late]));
  assert.ok(!canSendRest([refused, { outcome: 'signed-out' }]));
  assert.ok(!canSendRest([{ outcome: 'failed', away: true }]));
  assert.ok(canSendRest([{ outcome: 'failed' }]));
});

test('an alert is settled once the action has been done', () => {
  assert.deepEqual([done, late, refused].map(isSettled), [true, true, false]);
});

test('the outcome of one alert is a sentence', () => {
  assert.equal(describeOutcome({ kind: 'acknowledge' }, done), 'Acknowledged.');
  assert.equal(describeOutcome({ kind: 'snooze', until: 5 }, done), 'Snoozed.');
  assert.equal(describeOutcome({ kind: 'snooze', until: null }, done), 'Snooze ended.');
  assert.equal(describeOutcome({ kind: 'resolve' }, refused), refused.text);
});

test('the outcomes of many alerts are counted', () => {
  const action = { kind: 'resolve', count: 3 };
  assert.deepEqual(describeOutcomes({ ...action, outcomes: [done, done, done] }, false), ['done', 'Resolved: 3 of 3.']);
  assert.deepEqual(describeOutcomes({ ...action, outcomes: [done, late, done] }, false), [
    'late',
    'Resolved: 2 of 3. ada resolved it.',
  ]);
  assert.deepEqual(describeOutcomes({ ...action, outcomes: [done] }, true), ['late', 'Resolved: 1 of 3. The rest was not sent.']);
});

test('an unsent note explains what happened to its alert', () => {
  assert.equal(describeUnsentNote(null), 'The alert no longer exists. Your note was not sent.');
  assert.equal(describeUnsentNote({ by: 'ada', resolved: null }), 'ada resolved it, before you. Your note was not sent.');
});
