// Pure functions on alerts: order, merging of pages, status.

import { clock } from './format.js';

/**
 * @typedef {import('./types.js').Alert} Alert
 * @typedef {import('./types.js').Action} Action
 */

/**
 * The order of the list, by the place that the server gives each alert; ids decide between equals.
 * @param {Alert} one
 * @param {Alert} other
 */
export function comparePlaces(one, other) {
  for (let index = 0; index < 3; index += 1) {
    if (one.place[index] !== other.place[index]) return one.place[index] - other.place[index];
  }
  const ids = one.id < other.id ? -1 : Number(one.id > other.id);
  return one.place[0] ? -ids : ids; // resolved ones, the last first
}

/**
 * The list after its first page was read again, with those of the changed alerts that belong beyond that page.
 * @param {{ alerts: Alert[], next: string | null }} list what is loaded, and the cursor of the next page
 * @param {{ alerts: Alert[], next: string | null, changed: Alert[] }} answer
 * @param {string[]} changedIds what was asked for; an alert that is not in `changed` has left the list
 * @returns {{ alerts: Alert[], next: string | null }}
 */
export function mergeFirstPage(list, answer, changedIds) {
  if (answer.next === null) return { alerts: answer.alerts, next: null };
  const last = answer.alerts.at(-1); // none: what matches is rare, and begins beyond what one page looks through
  const end = list.alerts.at(-1);
  const gone = new Set(changedIds);
  /** @param {Alert} alert */
  const isBeyond = (alert) => !last || comparePlaces(alert, last) > 0;
  const kept = list.alerts.filter((alert) => isBeyond(alert) && !gone.has(alert.id));
  const came = answer.changed.filter(
    (alert) => isBeyond(alert) && (list.next === null || (end !== undefined && comparePlaces(alert, end) <= 0)),
  );
  const beyond = [...kept, ...came].sort(comparePlaces);
  return { alerts: [...answer.alerts, ...beyond], next: beyond.length ? list.next : answer.next };
}

/**
 * The list with a further page; an alert that is loaded already keeps its row.
 * @param {Alert[]} alerts
 * @param {Alert[]} further
 */
export function mergeFurtherPage(alerts, further) {
  const known = new Set(alerts.map((alert) => alert.id));
  return [...alerts, ...further.filter((alert) => !known.has(alert.id))].sort(comparePlaces);
}

/**
 * How many rows to read next when a whole list is read again page by page: as many as are missing, then one more, two,
 * four. The list must not grow by much more than has come since.
 * @param {number} read
 * @param {number} loaded
 * @param {number} most
 */
export function nextPageLimit(read, loaded, most) {
  const surplus = read - loaded;
  return Math.min(Math.max(-surplus, surplus + 1), most);
}

/**
 * An alert as the actions on their way will leave it; `pending` marks that the database has not answered.
 * @template {Alert} T
 * @param {T} alert
 * @param {Iterable<Action>} actions
 * @returns {T}
 */
export function withPending(alert, actions) {
  for (const action of actions) {
    if (!action.ids.includes(alert.id)) continue;
    /** @type {Partial<Record<import('./types.js').ActionKind, Partial<Alert>>>} */
    const changes = {
      acknowledge: { status: 'acknowledged', by: action.actor },
      resolve: { status: 'resolved', by: action.actor },
      snooze: { snoozed: action.until ?? null },
    };
    return { ...alert, ...changes[action.kind], pending: true };
  }
  return alert;
}

/**
 * @param {Alert} alert
 * @param {number} now
 */
export const isSnoozed = (alert, now) => alert.status !== 'resolved' && alert.snoozed !== null && alert.snoozed > now;

/**
 * Until when an alert is silenced; '' when it is not.
 * @param {Pick<Alert, 'silenced' | 'status'>} alert
 * @param {number} now
 */
export function describeSilence({ silenced, status }, now) {
  if (!silenced || status === 'resolved' || silenced.until <= now) return '';
  return `silenced until ${clock(silenced.until, { seconds: false })}`;
}

/**
 * The status to show; until when or by whom it is so; by whom a snoozed one was acknowledged.
 * @param {Alert} alert
 * @param {number} now
 * @returns {[string, string, string]}
 */
export function statusOf(alert, now) {
  const by = alert.status !== 'active' && alert.by ? `by ${alert.by}` : '';
  if (alert.snoozed === null || !isSnoozed(alert, now)) return [alert.status, by, ''];
  return ['snoozed', `until ${clock(alert.snoozed, { seconds: false })}`, by];
}

/**
 * Finds the critical alerts that have begun to ring since the last reading. What rings when the page opens never counts
 * as new later, not even after a snooze. Neither does an old one that is read only now because later ones were dealt with.
 */
export function createNewAlertTracker() {
  /** @type {Set<string> | null} */
  let known = null; // null before the first reading
  let knownSince = 0; // of many alerts only the newest are read
  return {
    /**
     * @param {(Alert & { rings: number })[]} ringing
     * @param {number} ringingSince
     */
    find(ringing, ringingSince) {
      const before = known;
      const fresh = before === null ? [] : ringing.filter((alert) => !before.has(alert.id) && alert.rings > knownSince);
      known = new Set([...(before ?? []), ...ringing.map((alert) => alert.id)]);
      knownSince = ringingSince;
      return fresh;
    },
  };
}
