// The filter of the list, and its representation in the query of the address. Pure functions.

import { SEVERITIES } from './constants.js';

/** @typedef {import('./types.js').Filter} Filter */

/** @type {Readonly<Filter>} */
export const NO_FILTER = { severities: [], status: 'open', type: '', simulated: '', text: '' };

/** Values and labels of the select boxes. */
export const CHOICES = {
  status: [
    ['open', 'All open'],
    ['active', 'Waiting'],
    ['acknowledged', 'Acknowledged'],
    ['snoozed', 'Snoozed'],
    ['resolved', 'Resolved'],
    ['all', 'Open and resolved'],
  ],
  type: [
    ['', 'Entry and exit'],
    ['exit', 'Exit'],
    ['entry', 'Entry'],
  ],
  simulated: [
    ['', 'Real and simulated'],
    ['no', 'Real'],
    ['yes', 'Simulated'],
  ],
};

const QUERY_NAMES = ['severity', 'status', 'type', 'simulated', 'q', 'alert', 'view'];
const VIEWS = ['charts', 'targets']; // beside the alerts
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * @param {Filter} one
 * @param {Filter} other
 */
export const isSameFilter = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/**
 * What an address asks for; a value that is not known counts as absent.
 * @param {URLSearchParams} query
 * @returns {{ filter: Filter, alert: string | null, view: string }}
 */
export function parseQuery(query) {
  /** @param {'status' | 'type' | 'simulated'} name */
  const choice = (name) => {
    const value = query.get(name) ?? '';
    return CHOICES[name].some(([known]) => known === value) ? value : NO_FILTER[name];
  };
  const named = (query.get('severity') ?? '').split(',');
  const alert = query.get('alert') ?? '';
  return {
    filter: {
      severities: SEVERITIES.filter((severity) => named.includes(severity)),
      status: choice('status'),
      type: choice('type'),
      simulated: choice('simulated'),
      text: (query.get('q') ?? '').slice(0, 200).trim(),
    },
    alert: UUID.test(alert) ? alert.toLowerCase() : null,
    view: VIEWS.find((name) => name === query.get('view')) ?? 'alerts',
  };
}

/**
 * The address that shows a view of the panel; other parts of its query stay.
 * @param {string} href
 * @param {{ filter?: Filter, alert?: string | null, view?: string }} view
 */
export function viewUrl(href, { filter = NO_FILTER, alert = null, view = 'alerts' }) {
  const url = new URL(href);
  /** @type {Record<string, string>} */
  const values = {
    severity: filter.severities.join(','),
    status: filter.status === NO_FILTER.status ? '' : filter.status,
    type: filter.type,
    simulated: filter.simulated,
    q: filter.text,
    alert: alert ?? '',
    view: VIEWS.find((name) => name === view) ?? '',
  };
  for (const name of QUERY_NAMES) {
    if (values[name]) url.searchParams.set(name, values[name]);
    else url.searchParams.delete(name);
  }
  return url.href.replaceAll('%2C', ',');
}
