// Asks before an action on the ticked alerts.

import { make } from './dom.js';
import { capital, plural } from './format.js';

/**
 * @param {import('./types.js').Panel} panel
 * @param {import('./dialog.js').Dialog} dialog
 * @param {(ids: string[]) => Element} describeAlerts
 */
export function createBulkDialog(panel, { ask, newField }, describeAlerts) {
  const { state } = panel;

  /** @param {string[]} ids */
  function newNote(ids) {
    // A note for these alerts that could not be saved is offered again.
    const before = ids.every((each) => state.bulkNote.ids.includes(each)) ? state.bulkNote.text : '';
    const label = 'How were they solved? The note is stored with each alert.';
    const { input, nodes } = newField(make('textarea', 'wta-input'), 'dialog-note', label, before);
    input.rows = 3;
    input.maxLength = 2000;
    input.required = true;
    return { input, nodes };
  }

  /** @param {import('./types.js').BulkAction} kind */
  function askBulk(kind) {
    const ids = state.loaded.map((alert) => alert.id).filter((each) => state.checked.has(each));
    if (!ids.length || state.role !== 'operator') return;
    if (kind === 'snooze') {
      panel.dialogs.askSnooze(ids, true);
      return;
    }
    const count = plural(ids.length, 'alert');
    const note = kind === 'resolve' ? newNote(ids) : null;
    ask({
      name: kind,
      title: `${capital(kind)} ${count}?`,
      body: [describeAlerts(ids), ...(note?.nodes ?? [])],
      confirm: `${capital(kind)} ${count}`,
      onConfirm() {
        const text = note?.input.value.trim();
        if (note && !text) {
          note.input.focus();
          return false;
        }
        if (text !== undefined) state.bulkNote = { text, ids };
        panel.actions.act(kind, ids, { note: text, ticked: true });
        return true;
      },
    });
  }

  return { askBulk };
}
