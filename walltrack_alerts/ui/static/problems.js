// Explains in the banner why the page is out of date.

import { setText } from './dom.js';
import { clock } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createProblems(panel) {
  const { root, state } = panel;

  /** @param {import('./types.js').Problem} answer */
  function showProblem({ problem, unreachable, offline, signedOut }) {
    if (signedOut && state.connection.status !== 'signed-out') panel.connection.onSignedOut();
    if (
      state.connection.status === 'signed-out' ||
      (offline && state.connection.foreignAnswers >= panel.connection.MAX_FOREIGN_ANSWERS)
    )
      return; // the page shows a better message already
    state.failingSince ??= Date.now();
    const what = unreachable ? 'Database unreachable' : problem.replace(/\.$/, '');
    setText(panel.frame.banner, `${what} since ${clock(state.failingSince)}, retrying. What you see may be out of date.`);
    panel.frame.banner.hidden = false;
    root.dataset.state = unreachable ? 'database-unreachable' : offline ? 'offline' : 'problem';
    panel.connection.showLive();
    panel.layout.fit();
    // Only a request shows whether the login has ended or the panel is away.
    if (offline && state.connection.foreignAnswers === 0 && state.connection.status !== 'reconnecting')
      panel.connection.reconnect();
  }

  /**
   * @param {string} text
   * @param {string} name
   */
  function offerLink(text, name) {
    panel.frame.banner.replaceChildren(`${text} `, panel.frame.reloadLink(name));
    panel.frame.banner.hidden = false;
  }

  function showSignedOut() {
    offerLink('You have been signed out. What you see is out of date.', 'Sign in again');
    root.dataset.state = 'signed-out';
  }

  function showReload() {
    offerLink('The panel was updated on its server. What you see is out of date.', 'Reload');
    root.dataset.state = 'offline';
    panel.connection.showLive();
  }

  return { showProblem, showReload, showSignedOut };
}
