// Reads the data of a page while the page is shown.

import { make, setText } from './dom.js';

/**
 * @template {'charts' | 'targets'} Name
 * @param {import('./types.js').Panel} panel
 * @param {object} page
 * @param {Name} page.name of the page and of its server function
 * @param {number} page.maxAge how old its data may be, ms
 * @param {() => object} [page.params]
 * @param {(data: import('./types.js').Answers[Name]) => void} page.onData
 */
export function createPageReader(panel, { name, maxAge, params = () => ({}), onData }) {
  const { gradio, on, root } = panel;
  const trouble = make('p', { className: 'wta-banner', hidden: true });
  let requestedAt = 0;
  let turn = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const isSeen = () => root.dataset.view === name && !document.hidden;

  async function read() {
    clearTimeout(timer);
    timer = undefined;
    requestedAt = Date.now();
    turn += 1;
    const ownTurn = turn;
    const answer = await gradio.call(name, params());
    if (ownTurn !== turn) return; // requested again since, perhaps with other parameters
    trouble.hidden = answer.problem === undefined;
    setText(trouble, answer.problem === undefined ? '' : `The ${name} could not be read: ${answer.problem}`);
    if (answer.signedOut) panel.reader.showProblem(answer);
    if (answer.problem === undefined) onData(answer);
  }

  /**
   * Reads once more, so many ms after the last request at the earliest.
   * @param {number} pause
   */
  function readAfter(pause) {
    timer ??= setTimeout(read, Math.max(requestedAt + pause - Date.now(), 0));
  }

  on('view', (shown) => {
    if (shown === name) read();
  });
  on('tick', () => {
    if (isSeen() && Date.now() - requestedAt >= maxAge) read();
  });

  return { isSeen, read, readAfter, trouble };
}
