// The only module that knows Gradio: how the page calls the server, where its root is, how it shows themes, and which of
// Gradio's animations go on forever. tests/browser/test_gradio.py fails when Gradio changes any of this.

import { PATIENCE_MS } from './constants.js';

/**
 * @param {import('./types.js').Host} host
 */
export function createGradio({ element, trigger, props, server, watch }) {
  // Where the browser found the page, whatever prefixes proxies have taken away.
  const base = new URL('.', document.baseURI).href.replace(/\/$/, '');

  /** @returns {Promise<Response | null>} 401: signed out; null: the server is away */
  async function checkLogin() {
    try {
      return await fetch(`${base}/gradio_api/login_check`, { signal: AbortSignal.timeout(5000) });
    } catch {
      return null;
    }
  }

  return {
    base,
    checkLogin,

    /** Whether Gradio still shows the panel; it removes the element of a tab that is left. */
    isShown: () => element.isConnected,

    /**
     * Calls a server function, which only reads. Gradio's client answers undefined when the server is away or refuses the
     * request, or throws.
     * @template {keyof import('./types.js').Answers} Name
     * @param {Name} name
     * @param {object} args
     * @returns {Promise<import('./types.js').Answer<Name>>}
     */
    async call(name, args) {
      let answer;
      try {
        answer = await Promise.race([server[name](args), new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, null))]);
      } catch {
        // offline, as below
      }
      if (typeof answer === 'string') return JSON.parse(answer);
      if (answer !== null && (await checkLogin())?.status === 401)
        return { problem: 'You have been signed out', offline: true, signedOut: true };
      return { problem: "The panel's server cannot be reached", offline: true };
    },

    /**
     * Triggers an event: only events carry the login. Its answer comes to onAnswer. While the server is away Gradio would
     * keep the event for later and reload the page, so callers ask `call('ping')` first.
     * @param {string} event
     * @param {object} data
     */
    send: (event, data) => trigger(event, data),

    /** @param {(answer: import('./types.js').EventAnswer) => void} handle */
    onAnswer(handle) {
      watch('value', () => handle(JSON.parse(props.value || '{}')));
    },

    /** Gradio marks its dark theme on an element around. */
    isDark: () => element.closest('.dark') !== null,

    /** Stops Gradio's idle animation frames, once the page is seen: the browser draws none before that. */
    stopIdleFrames() {
      const whenSeen = () => {
        if (document.hidden) document.addEventListener('visibilitychange', whenSeen, { once: true });
        else stopFrames();
      };
      setTimeout(whenSeen, 2000);
    },
  };
}

/**
 * Gradio's loading indicator requests sixty frames a second long after it has gone: a sixth of a core per open page. Its
 * springs use one function that requests itself; its requests are dropped. Its stopwatch uses a new function
 * each time: an error thrown from performance.now() stops its timer. Frames requested by other code are unaffected.
 */
function stopFrames() {
  const callers = () =>
    (new Error('stack').stack ?? '')
      .split('\n')
      .filter((line) => /:\d+:\d+\)?$/.test(line))
      .slice(1);
  const request = window.requestAnimationFrame;
  /** @type {FrameRequestCallback | null} */
  let last = null;
  let times = 0;
  window.requestAnimationFrame = (callback) => {
    if (callers().at(-1)?.includes('/assets/')) {
      times = callback === last ? times + 1 : 0;
      last = callback;
      if (times > 30) return 0;
    }
    return request.call(window, callback);
  };
  const stop = new Error('stop');
  /** @param {ErrorEvent} event */
  const silence = (event) => {
    if (event.error === stop) event.preventDefault();
  };
  window.addEventListener('error', silence);
  performance.now = () => {
    const [caller, ...further] = callers().slice(1);
    if (caller?.includes('statustracker') && !further.length) throw stop;
    return Performance.prototype.now.call(performance);
  };
  setTimeout(() => {
    window.requestAnimationFrame = request;
    Reflect.deleteProperty(performance, 'now');
    window.removeEventListener('error', silence);
  }, 2000);
}
