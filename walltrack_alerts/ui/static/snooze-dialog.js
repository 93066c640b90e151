// Asks until when alerts are snoozed.

import { isSnoozed } from './alerts.js';
import { add, make, setText } from './dom.js';
import { clock, plural } from './format.js';

/** @param {number} now ms since 1970 */
function tomorrow(now) {
  const today = new Date(now);
  return new Date(today.getFullYear(), today.getMonth(), today.getDate() + 1, 9).getTime();
}

/**
 * The choices, each with its end; times of day are those of the viewer's zone.
 * @type {[label: string, until: (now: number) => number][]}
 */
export const SNOOZES = [
  ['15 minutes', (now) => now + 15 * 60e3],
  ['1 hour', (now) => now + 3600e3],
  ['4 hours', (now) => now + 4 * 3600e3],
  ['Tomorrow 9:00', tomorrow],
];

/**
 * Arrows and j, k move between the choices, a digit takes one.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} choices
 */
function onChoiceKey(event, choices) {
  const buttons = /** @type {HTMLElement[]} */ ([...choices.children]);
  const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, j: at + 1, k: at - 1 }[event.key];
  const target = /^[1-5]$/.test(event.key) ? buttons[Number(event.key) - 1] : buttons[to ?? -1];
  if (!target) return;
  event.preventDefault();
  if (to === undefined) target.click();
  else target.focus();
}

/**
 * @param {import('./types.js').Panel} panel
 * @param {import('./dialog.js').Dialog} dialog
 * @param {(ids: string[]) => Element} describeAlerts
 */
export function createSnoozeDialog(panel, { ask }, describeAlerts) {
  const { id, makeButton, on, root, serverNow, state } = panel;

  // By the server's clock, and at the click: the dialog may stay open for long.
  function showSnoozeTimes() {
    SNOOZES.forEach(([, until], index) => {
      const button = root.querySelector(`:scope > .wta-dialog #${CSS.escape(id(`snooze-${index + 1}`))}`);
      if (button?.lastElementChild) setText(button.lastElementChild, `until ${clock(until(serverNow()), { seconds: false })}`);
    });
  }
  on('tick', showSnoozeTimes);

  /**
   * @param {boolean} canWake whether ending the snooze is one of them
   * @param {(until: number | null) => void} onChoice
   */
  function newChoices(canWake, onChoice) {
    const choices = make('div', 'wta-choices');
    /**
     * @param {string} text
     * @param {string} aside
     * @param {() => number | null} until
     * @param {string} name
     */
    const choice = (text, aside, until, name) => {
      const button = makeButton('wta-button wta-choice', undefined, () => onChoice(until()), name);
      choices.append(add(button, make('span', '', text), make('small', '', aside)));
    };
    for (const [index, [text, until]] of SNOOZES.entries()) choice(text, '', () => until(serverNow()), `snooze-${index + 1}`);
    if (canWake) choice('End the snooze', 'now', () => null, 'snooze-wake');
    choices.addEventListener('keydown', (event) => onChoiceKey(event, choices));
    return choices;
  }

  /** @param {string[]} ids */
  function askSnooze(ids, ticked = false) {
    if (state.role !== 'operator' || !ids.length || (!ticked && ids.length === 1 && panel.actions.isPending(ids[0]))) return;
    const known = ids.length === 1 ? (panel.list.rowOf(ids[0])?.alert ?? state.detail) : null;
    const only = known && !known.gone ? known : null;
    if (only?.status === 'resolved') return;
    let close = () => {};
    const choices = newChoices(!only || isSnoozed(only, serverNow()), (until) => {
      close();
      panel.actions.act('snooze', ids, { until, ticked });
    });
    close = ask({
      name: 'snooze',
      title: ids.length === 1 ? `Snooze ${only?.token || 'this alert'}` : `Snooze ${plural(ids.length, 'alert')}`,
      body: [
        ...(ids.length > 1 ? [describeAlerts(ids)] : []),
        make('p', 'wta-muted', 'It is not counted in the tiles until the snooze ends or its severity rises.'),
        choices,
      ],
    });
    showSnoozeTimes();
  }

  return { askSnooze };
}
