// Asks for the name that actions carry, in a panel without a login.

import { NAME_KEY } from './constants.js';
import { make } from './dom.js';
import { storage } from './storage.js';

/**
 * @param {import('./types.js').Panel} panel
 * @param {import('./dialog.js').Dialog} dialog
 */
export function createNameDialog({ emit, ownName, state }, { ask, newField }) {
  /** @param {() => void} [then] called once a name is given */
  function askName(then) {
    const { input, nodes } = newField(make('input', 'wta-input'), 'name', 'Your name', ownName());
    input.maxLength = 100;
    input.autocomplete = 'name';
    let isGiven = false;
    ask({
      name: 'name',
      title: 'Who are you?',
      body: [make('p', 'wta-muted', 'Your name is recorded with your actions and remembered in this browser.'), ...nodes],
      confirm: 'Save name',
      onConfirm() {
        const name = input.value.trim();
        if (!name) {
          input.focus();
          return false;
        }
        storage.set(NAME_KEY, name);
        state.fallbackName = name;
        emit('identity');
        isGiven = true;
        return true;
      },
      onClose() {
        if (isGiven) then?.();
      },
    });
  }

  /**
   * Asks for the operator's name if the page does not know it.
   * @param {() => void} then called once it is given
   * @returns {boolean} whether it was missing
   */
  function askMissingName(then) {
    const isMissing = state.user === '' && !ownName();
    if (isMissing) askName(then);
    return isMissing;
  }

  return { askMissingName, askName };
}
