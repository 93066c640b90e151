// The frame of every modal dialog.

import { add, make } from './dom.js';

/**
 * @typedef {object} Question
 * @property {string} name
 * @property {string} title
 * @property {Element[]} [body]
 * @property {string | null} [confirm] label of the button that confirms; null: there is nothing to decide
 * @property {string} [refuse] label of the other button
 * @property {boolean} [danger]
 * @property {() => unknown} [onConfirm] false keeps the dialog open
 * @property {() => void} [onClose]
 */

/** @typedef {ReturnType<typeof createDialog>} Dialog */

/** @param {import('./types.js').Panel} panel */
export function createDialog(panel) {
  const { id, makeButton, root } = panel;

  /**
   * Shows a modal dialog. Esc, Cancel and a click beside it mean no.
   * @param {Question} question
   * @returns {() => void} closes it
   */
  function ask(question) {
    const focused = document.activeElement;
    const heading = make('h3', { id: id('dialog-title') }, question.title);
    const dialog = make('dialog', { className: 'wta-dialog', id: id('dialog') });
    dialog.dataset.dialog = question.name;
    dialog.setAttribute('aria-labelledby', heading.id);
    const close = () => dialog.close();
    const buttons = newButtons(question, close);
    const form = make('form', { className: 'wta-dialog-form', method: 'dialog' }, heading, ...(question.body ?? []), buttons);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (!question.confirm || question.onConfirm?.() !== false) close();
    });
    closeOnClickBeside(dialog);
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (!root.querySelector(':scope > .wta-dialog')) delete root.dataset.dialog; // confirming may have opened the next dialog
      panel.detail.placePane();
      // The event comes some time after the closing: the focus may be elsewhere by then.
      if (focused?.isConnected && document.activeElement === document.body)
        panel.detail.focusAgain(/** @type {HTMLElement} */ (focused));
      question.onClose?.();
    });
    root.append(add(dialog, form));
    root.dataset.dialog = question.name;
    dialog.showModal();
    /** @type {HTMLElement} */ (dialog.querySelector('[autofocus], .wta-choice') ?? buttons.lastElementChild).focus();
    return close;
  }

  /**
   * @param {Question} question
   * @param {() => void} close
   */
  function newButtons({ confirm = null, refuse = 'Cancel', danger = false }, close) {
    const no = makeButton('wta-button', confirm === null ? 'Close' : refuse, close, 'dialog-no');
    if (confirm === null) return make('div', 'wta-dialog-buttons', no);
    const className = `wta-button ${danger ? 'wta-danger wta-filled' : 'wta-primary'}`;
    return make('div', 'wta-dialog-buttons', no, make('button', { className, id: id('dialog-yes'), type: 'submit' }, confirm));
  }

  /** @param {HTMLDialogElement} dialog */
  function closeOnClickBeside(dialog) {
    /** @type {EventTarget | null} */
    let pressed = null; // a selection of text may end beside the dialog, and that is a click on it too
    dialog.addEventListener('pointerdown', ({ target }) => {
      pressed = target;
    });
    dialog.addEventListener('click', ({ target }) => {
      if (target === dialog && pressed === dialog) dialog.close();
    });
  }

  const isAsking = () => root.querySelector(':scope > .wta-dialog[open]') !== null;

  /**
   * A field that takes the focus, and its label.
   * @template {HTMLInputElement | HTMLTextAreaElement} T
   * @param {T} input
   * @param {string} name
   * @param {string} text of its label
   * @param {string} [value]
   */
  function newField(input, name, text, value = '') {
    input.id = id(name);
    input.value = value;
    input.setAttribute('autofocus', '');
    const caption = make('label', { className: 'wta-field', htmlFor: input.id }, text);
    return { input, nodes: [caption, input] };
  }

  return { ask, isAsking, newField };
}
