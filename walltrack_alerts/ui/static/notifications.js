// Browser notifications.

import { cut } from './format.js';

const AT_ONCE = 3; // notifications; more new alerts than this come as one

/** The permission of the browser; 'missing' where it has no notifications for this page. */
export function permission() {
  if (!('Notification' in window) || !window.isSecureContext) return 'missing';
  return Notification.permission;
}

/**
 * The notifications of new critical alerts; `alertId` is opened by a click.
 * @param {Pick<import('./types.js').Alert, 'id' | 'token' | 'title' | 'error' | 'message' | 'simulated'>[]} alerts
 * @returns {{ title: string, body: string, alertId?: string }[]}
 */
export function describeNewAlerts(alerts) {
  if (alerts.length > AT_ONCE) {
    const body = alerts.map(({ token, title }) => token || title).join(', ');
    return [{ title: `${alerts.length} new critical alerts`, body }];
  }
  return alerts.map(({ id, token, title, error, message, simulated }) => {
    const name = token ? `${token}: ${title}` : title;
    return { title: simulated ? `SIMULATED ${name}` : name, body: error || message, alertId: id };
  });
}

/**
 * Shows a notification if the browser allows it. One without a click handler disappears by itself.
 * @param {string} title
 * @param {string} body
 * @param {string} tag a later notification with the same tag replaces it
 * @param {() => void} [onClick]
 */
export function notify(title, body, tag, onClick) {
  if (permission() !== 'granted') return;
  try {
    const notification = new Notification(cut(title, 120), {
      body: cut(body, 240),
      tag,
      requireInteraction: onClick !== undefined,
    });
    notification.addEventListener('click', () => {
      window.focus();
      notification.close();
      onClick?.();
    });
  } catch {
    // some phones have notifications for installed apps only
  }
}
