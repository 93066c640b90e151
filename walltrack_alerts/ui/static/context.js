// The context that all parts of a panel share: its element, state, events, ids and clock.

import { NAME_KEY } from './constants.js';
import * as dom from './dom.js';
import { createEvents } from './events.js';
import { distance } from './format.js';
import { createGradio } from './gradio.js';
import { createState } from './state.js';
import { storage } from './storage.js';

/** @param {import('./types.js').Host} host */
export function createContext(host) {
  const { props } = host;
  const state = createState();
  const root = /** @type {HTMLElement} */ (host.element.firstElementChild);

  /** @param {string} name */
  const id = (name) => `${props.panel_id}-${name}`;

  const serverNow = () => Date.now() + state.clockOffset;

  /**
   * @param {string} className
   * @param {string | undefined} text
   * @param {((event: MouseEvent) => void) | null} [onClick]
   * @param {string} [name]
   */
  function makeButton(className, text, onClick, name) {
    const node = dom.makeButton(className, text, onClick);
    if (name) node.id = id(name);
    return node;
  }

  /**
   * An element that keeps counting how far a time is away.
   * @param {number} ms since 1970
   * @param {string} [suffix] after a time in the past
   */
  function age(ms, suffix = '') {
    return setAge(dom.make('time', 'wta-since'), ms, suffix);
  }

  /**
   * @param {HTMLTimeElement} node
   * @param {number} ms since 1970
   * @param {string} [suffix]
   */
  function setAge(node, ms, suffix = '') {
    if (node.dataset.since !== String(ms)) {
      node.dataset.since = String(ms);
      node.dataset.suffix = suffix;
      node.dateTime = new Date(ms).toISOString();
      node.title = new Date(ms).toLocaleString();
    }
    return updateAge(node);
  }

  /**
   * @template {HTMLElement} T
   * @param {T} node
   */
  function updateAge(node) {
    dom.setText(node, distance(Number(node.dataset.since), serverNow(), node.dataset.suffix));
    return node;
  }

  return {
    props,
    root,
    state,
    id,
    serverNow,
    makeButton,
    age,
    setAge,
    updateAge,
    gradio: createGradio(host),
    ...createEvents(),
    /** The name that actions carry. One given in another tab counts here after a reload, or where this page has none. */
    ownName: () => {
      if (!state.fallbackName) state.fallbackName = storage.get(NAME_KEY);
      return state.user || state.fallbackName;
    },
  };
}
