// Describes deliveries, targets and silences as text. Pure functions.

import { duration, plural } from './format.js';

/**
 * @typedef {import('./types.js').DeadLetter} DeadLetter
 * @typedef {import('./types.js').Target} Target
 * @typedef {import('./types.js').TimelineEntry} TimelineEntry
 */

/** @type {Record<string, (entry: TimelineEntry) => [string, string]>} the words before and after ' to ' and the target */
const ENDINGS = {
  delivered: ({ inDigest }) => ['Delivered', inDigest ? ' in a digest' : ''],
  'delivery failed': ({ status }) => ['Delivery', status === null ? ' failed' : ` failed: ${status}`],
  'delivery dropped': () => ['Delivery', ' dropped'],
  'delivery cancelled': () => ['Delivery', ' cancelled'],
  'delivery silenced': () => ['Delivery', ' silenced'],
};

/**
 * The words around the target, as in 'Delivered to ada' and 'Delivery to hook failed: 500'; null for other entries.
 * @param {TimelineEntry} entry
 * @returns {[string, string] | null}
 */
export const describeDelivery = (entry) => (Object.hasOwn(ENDINGS, entry.kind) ? ENDINGS[entry.kind](entry) : null);

/**
 * Whether relays run, and what it means when none does.
 * @param {{ relays: number, relaySeen: number | null, targets: Pick<Target, 'enabled'>[] }} data
 * @param {number} now
 */
export function describeRelays({ relays, relaySeen, targets }, now) {
  if (relays) return `${plural(relays, 'relay')} running`;
  const none = relaySeen === null ? 'No relay is running' : `No relay has been seen for ${duration(now - relaySeen)}`;
  return targets.some((each) => each.enabled) ? `${none}: nothing is delivered.` : `${none}.`;
}

/**
 * The state of a target in one word.
 * @param {Pick<Target, 'enabled' | 'isFailing'>} target
 */
export function stateOf({ enabled, isFailing }) {
  if (!enabled) return 'disabled';
  return isFailing ? 'failing' : 'enabled';
}

/** @param {Pick<Target, 'severity' | 'step'>} target */
export function describeFilter({ severity, step }) {
  const which = severity === 'info' ? 'all severities' : severity === 'critical' ? 'critical only' : `${severity} and above`;
  return step ? `${which}, from escalation step ${step}` : which;
}

/**
 * Names the first deliveries that an action is about.
 * @param {Pick<DeadLetter, 'target' | 'title' | 'event'>[]} dead
 */
export function nameDeliveries(dead) {
  const names = dead.slice(0, 3).map(({ target, title, event }) => `${title || 'a deleted alert'} (${event}) to ${target}`);
  const rest = dead.length - names.length;
  return names.join('; ') + (rest > 0 ? `; and ${rest} more` : '');
}

/** @param {[string, string][]} matches */
export const describeMatches = (matches) => matches.map(([name, value]) => `${name} ${value}`).join(', ');
