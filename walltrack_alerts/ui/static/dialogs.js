// All modal dialogs of a panel.

import { createBulkDialog } from './bulk-dialog.js';
import { createDialog } from './dialog.js';
import { make } from './dom.js';
import { showHelp } from './help-dialog.js';
import { createNameDialog } from './name-dialog.js';
import { createOrderDialog } from './order-dialog.js';
import { createSnoozeDialog } from './snooze-dialog.js';

/** @param {import('./types.js').Panel} panel */
export function createDialogs(panel) {
  const dialog = createDialog(panel);

  /**
   * Names the first alerts that an action is about.
   * @param {string[]} ids
   */
  function describeAlerts(ids) {
    const found = ids.flatMap((each) => panel.list.rowOf(each)?.alert ?? []);
    const names = found
      .slice(0, 6)
      .map(({ kind, token, title }) => [kind.toUpperCase(), token || title].filter(Boolean).join(' '));
    const rest = ids.length - names.length;
    return make('p', 'wta-muted wta-them', names.join(', ') + (rest > 0 ? ` and ${rest} more` : ''));
  }

  return {
    ask: dialog.ask,
    isAsking: dialog.isAsking,
    showHelp: () => showHelp(dialog),
    ...createNameDialog(panel, dialog),
    ...createSnoozeDialog(panel, dialog, describeAlerts),
    ...createBulkDialog(panel, dialog, describeAlerts),
    ...createOrderDialog(panel, dialog),
  };
}
