// Title, favicon, sound and browser notification, for an operator who looks elsewhere. They are driven by responses and WebSocket
// messages, not by timers, because timers sleep in hidden tabs.

import { createBell, wants } from './bell.js';
import { createTabStatus } from './favicon.js';
import { describeNewAlerts, notify } from './notifications.js';
import { createSound } from './sound.js';

/** @param {import('./types.js').Panel} panel */
export function createAlarm(panel) {
  const { on, props } = panel;
  const sound = createSound();
  const showInTab = createTabStatus();
  createBell(panel, sound);

  /** @param {string} alertId */
  function openAlert(alertId) {
    panel.frame.showPage('alerts', { remember: true });
    panel.detail.openAlert(alertId);
  }

  on('newCritical', (alerts) => {
    if (wants.sound()) sound.play();
    if (!wants.notification()) return;
    for (const { title, body, alertId } of describeNewAlerts(alerts))
      notify(title, body, alertId ?? props.panel_id, alertId === undefined ? undefined : () => openAlert(alertId));
  });
  on('summary', ({ critical }) => {
    if (props.own_page) showInTab(critical);
  });
  on('closed', () => sound.close());
}
