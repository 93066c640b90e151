// Describes what became of actions. Pure functions.

import { clock, localizeTimes } from './format.js';

/**
 * @typedef {import('./types.js').Action} Action
 * @typedef {import('./types.js').Outcome} Outcome
 */

/** @type {Record<string, string>} */
const DONE = {
  acknowledge: 'Acknowledged.',
  resolve: 'Resolved.',
  snooze: 'Snoozed.',
  wake: 'Snooze ended.',
  retry: 'The order is pending again, and the bot will retry it.',
  cancel: 'The order is cancelled.',
};

/** @param {Pick<Action, 'kind' | 'until'>} action */
const doneText = ({ kind, until }) => DONE[kind === 'snooze' && until === null ? 'wake' : kind];

/**
 * An outcome as the viewer reads it: who acted first, times in the viewer's zone.
 * @param {Outcome} outcome
 * @returns {Outcome}
 */
export function localizeOutcome(outcome) {
  const { first, text } = outcome;
  return { ...outcome, text: first ? `${first.by} ${first.did} it at ${clock(first.at)}, before you.` : localizeTimes(text) };
}

/**
 * Whether the rest of many alerts may be sent. After a refusal the rest would be refused too; after a timeout or without a
 * database the operator must check the status first.
 * @param {Outcome[]} outcomes
 */
export const canSendRest = (outcomes) => outcomes.some((each) => !['refused', 'signed-out'].includes(each.outcome) && !each.away);

/**
 * Whether the action has nothing left to do for the alert.
 * @param {Outcome} outcome
 */
export const isSettled = ({ outcome }) => outcome === 'done' || outcome === 'late';

/**
 * The outcome of an action on one alert.
 * @param {Pick<Action, 'kind' | 'until'>} action
 * @param {Outcome} outcome
 */
export const describeOutcome = (action, { outcome, text }) =>
  outcome === 'done' ? [doneText(action), text].filter(Boolean).join(' ') : text;

/**
 * The outcomes of an action on many alerts, as an outcome and its text: how many are done, and the first reason why others are not.
 * @param {Pick<Action, 'kind' | 'until' | 'count' | 'outcomes'>} action
 * @param {boolean} isCutOff
 * @returns {['done' | 'late', string]}
 */
export function describeOutcomes(action, isCutOff) {
  const { count, outcomes } = action;
  const others = outcomes.filter((each) => each.outcome !== 'done');
  const reason = [...others, ...outcomes].map((each) => each.text).find(Boolean);
  const done = `${doneText(action).replace('.', '')}: ${outcomes.length - others.length} of ${count}.`;
  const text = [done, reason, isCutOff && 'The rest was not sent.'].filter(Boolean).join(' ');
  return [others.length || isCutOff ? 'late' : 'done', text];
}

/**
 * For the operator who was writing a note when the alert was resolved or purged.
 * @param {Pick<import('./types.js').Alert, 'by' | 'resolved'> | null} alert null: purged
 */
export function describeUnsentNote(alert) {
  const at = alert?.resolved ? ` at ${clock(alert.resolved)}` : '';
  const reason = alert ? `${alert.by} resolved it${at}, before you.` : 'The alert no longer exists.';
  return `${reason} Your note was not sent.`;
}
