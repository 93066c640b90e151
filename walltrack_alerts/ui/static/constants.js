/** Severities, the most urgent first. */
export const SEVERITIES = ['critical', 'high', 'warning', 'info'];

/** What the page calls each status of an alert. @type {Record<string, string>} */
export const STATUS = { active: 'waiting', acknowledged: 'acknowledged', resolved: 'resolved', snoozed: 'snoozed' };

/** Local storage key of the name given at this page. */
export const NAME_KEY = 'walltrack-alerts.name';

/** How long the page waits for an answer, ms: longer than the server waits for its database. */
export const PATIENCE_MS = 15000;

/** How long a confirmation stays, ms. */
export const THANKS_MS = 6000;

/** How long a new row stands out, ms. */
export const NEW_MS = 2500;
