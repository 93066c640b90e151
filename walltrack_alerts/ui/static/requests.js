// Sends events to the server, gives up on those without a response, and hands out the responses.

import { PATIENCE_MS } from './constants.js';

const NOT_SENT = "The panel's server cannot be reached. Nothing was sent.";
const SIGNED_OUT = 'You have been signed out. Nothing was sent.';

/** The beginning of what an operator reads after a timeout. */
export const NO_RESPONSE = "The panel's server did not respond.";

/** Identifies a request; its response carries the same one. */
export const newNonce = () => crypto.getRandomValues(new Uint32Array(4)).join('-');

/**
 * Why nothing can be sent: an outcome and its text.
 * @typedef {[outcome: string, text: string]} Obstacle
 */

/** @param {import('./types.js').Panel} panel */
export function createRequests(panel) {
  const { gradio, root, state } = panel;

  /**
   * The obstacle that the page knows of already.
   * @returns {Obstacle | null}
   */
  function knownObstacle() {
    if (state.connection.status === 'signed-out') return ['signed-out', SIGNED_OUT];
    return root.dataset.state === 'offline' ? ['failed', NOT_SENT] : null;
  }

  /**
   * Asks the server.
   * @returns {Promise<Obstacle | null>}
   */
  async function findObstacle() {
    const answer = await gradio.call('ping', {});
    if (!answer.offline) return null;
    if (answer.signedOut) {
      panel.connection.onSignedOut();
      return ['signed-out', SIGNED_OUT];
    }
    panel.reader.showProblem(answer);
    return ['failed', NOT_SENT];
  }

  /**
   * Sends an event if the server responds to a ping: Gradio would keep the click for later and reload the page, losing
   * half-written notes.
   * @param {string} event
   * @param {{ nonce: string, ids: (string | number)[], actor: string, note?: string, until?: number | null }} data
   * @param {object} handlers
   * @param {(outcome: string, text: string) => void} handlers.onObstacle
   * @param {() => void} handlers.onTimeout called after every timeout: a response may have come before
   */
  async function send(event, data, { onObstacle, onTimeout }) {
    const obstacle = await findObstacle();
    if (!gradio.isShown()) return;
    if (obstacle) {
      onObstacle(...obstacle);
      return;
    }
    gradio.send(event, data);
    setTimeout(onTimeout, PATIENCE_MS);
  }

  gradio.onAnswer((answer) => {
    if (answer.outcomes) panel.actions.applyAnswer(answer.nonce ?? '', answer.outcomes);
    if (answer.change) panel.targets.applyAnswer(answer.nonce ?? '', answer.change);
    if (answer.role === 'anonymous') panel.connection.onSignedOut();
    else if (answer.role) panel.connection.applyIdentity(answer);
  });

  return { knownObstacle, send };
}
