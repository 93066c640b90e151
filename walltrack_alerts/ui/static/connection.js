// The live connection: a WebSocket names the alerts that changed. Without one the page polls.

import { PATIENCE_MS } from './constants.js';
import { setText } from './dom.js';
import { clock } from './format.js';
import { newNonce } from './requests.js';

/** @param {import('./types.js').Panel} panel */
export function createConnection(panel) {
  const { state, props, root, serverNow, emit, on } = panel;

  const SILENCE_MS = 25000; // the hub sends at least every 10 s
  const RETRY_MS = [300, 1000, 2000, 5000];
  const SOCKET_FAILURES = 3; // after these the page shows that it polls: no WebSocket seems to get through
  const MAX_FOREIGN_ANSWERS = 3; // answers of another version of the panel before the page offers to reload

  function showLive() {
    const { status: at, since, why } = state.connection;
    /** @type {Record<string, string>} */
    const words = {
      live: 'live',
      connecting: 'connecting',
      stale: `stale since ${clock(since)}`,
      reconnecting: 'reconnecting',
      polling: `polling every ${Math.round(props.refresh_ms / 1000) || 1} s`,
      'signed-out': 'signed out',
    };
    const failing = !['live', 'loading'].includes(root.dataset.state ?? '');
    const shownState = failing && at === 'live' ? 'stale' : at;
    root.dataset.live = shownState;
    setText(
      panel.frame.liveLabel,
      failing && at === 'live' ? `stale since ${clock(state.failingSince ?? Date.now())}` : words[at],
    );
    panel.frame.liveLabel.title = why;
  }

  /** @param {string} at */
  function setStatus(at, { since = serverNow(), why = '' } = {}) {
    const was = state.connection.status;
    state.connection.since = at === was ? state.connection.since : since - state.clockOffset;
    Object.assign(state.connection, { status: at, why });
    showLive();
    if (at === was) return;
    if (at === 'live') panel.reader.readList({ all: true });
    panel.reader.readHealth();
  }

  /** @param {import('./types.js').EventAnswer} answer */
  function applyIdentity(answer) {
    clearTimeout(state.connection.retry);
    state.reading.countsReadAt = 0; // maybe by another clock
    Object.assign(state, { user: answer.user, role: answer.role, orderActions: answer.order_actions === true });
    state.logoutPath = answer.logout_path ?? '';
    emit('identity');
    if (state.shown) panel.detail.showDetail();
    if (!answer.live_path || !answer.ticket) {
      setStatus('polling');
      return;
    }
    connect(answer.live_path, answer.ticket);
  }

  /**
   * @param {string} path
   * @param {string} ticket
   */
  function connect(path, ticket) {
    disconnect();
    const url = new URL(`${panel.gradio.base}/${path.replace(/^\//, '')}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    url.search = new URLSearchParams({ ticket }).toString();
    let socket;
    try {
      socket = new WebSocket(url);
    } catch {
      onLost();
      return;
    }
    state.connection.socket = socket;
    state.connection.lastMessageAt = Date.now();
    socket.addEventListener('message', ({ data }) => {
      if (socket !== state.connection.socket) return;
      state.connection.lastMessageAt = Date.now();
      state.connection.failures = 0;
      /** @type {import('./types.js').LiveMessage} */
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return;
      }
      const known = message.state === 'live' || message.state === 'stale' ? message.state : 'connecting';
      setStatus(known, { since: message.since, why: message.why });
      if (message.counts) panel.reader.showCounts(message.counts);
      if (message.changed?.length) {
        for (const alertId of message.changed) {
          state.changed.add(alertId);
          if (state.reading.isReadingMore) state.reading.changedWhileReading.add(alertId);
        }
        panel.reader.readList();
        if (state.selected !== null && message.changed.includes(state.selected)) panel.reader.readDetail();
      }
    });
    socket.addEventListener('close', () => {
      if (socket === state.connection.socket) onLost();
    });
  }

  function disconnect() {
    const { socket } = state.connection;
    state.connection.socket = null;
    clearTimeout(state.connection.retry);
    socket?.close();
  }

  function onLost() {
    disconnect();
    state.connection.failures += 1;
    if (state.connection.failures === 1) panel.reader.readList(); // is the server there at all?
    setStatus(state.connection.failures > SOCKET_FAILURES && root.dataset.state === 'live' ? 'polling' : 'reconnecting');
    const wait = RETRY_MS[Math.min(state.connection.failures - 1, RETRY_MS.length - 1)];
    reconnectIn(wait * (0.7 + 0.6 * Math.random()));
  }

  // A new ticket, but only from a server that answers to this page: Gradio would keep an event for later and reload the page,
  // and another panel would take it for its own.
  async function reconnect() {
    clearTimeout(state.connection.retry);
    if (!panel.gradio.isShown()) return;
    const answer = await panel.gradio.checkLogin();
    if (answer?.status === 401) {
      onSignedOut();
    } else if (!answer?.ok) {
      state.connection.foreignAnswers = 0;
      onLost();
    } else if ((await panel.gradio.call('ping', {})).offline) {
      state.connection.foreignAnswers += 1;
      if (state.connection.foreignAnswers >= MAX_FOREIGN_ANSWERS) panel.reader.showReload();
      reconnectIn(1500);
    } else if (state.connection.socket) {
      // Not at once: what fails may be the reading itself.
      if (state.connection.foreignAnswers || panel.reader.isFailing())
        reconnectIn(RETRY_MS[2], () => panel.reader.readList({ all: true }));
      state.connection.foreignAnswers = 0;
    } else {
      state.connection.foreignAnswers = 0;
      panel.gradio.send('identify', { nonce: newNonce() });
      reconnectIn(PATIENCE_MS); // no answer at all
    }
  }

  /** @param {number} ms */
  function reconnectIn(ms, what = reconnect) {
    clearTimeout(state.connection.retry);
    state.connection.retry = setTimeout(what, ms);
  }

  function onSignedOut() {
    disconnect();
    panel.reader.showSignedOut();
    setStatus('signed-out');
    reconnectIn(5000); // a login in another tab counts here, too
  }

  on('tick', () => {
    if (state.connection.socket && Date.now() - state.connection.lastMessageAt > SILENCE_MS) onLost();
  });
  on('closed', disconnect);
  window.addEventListener('online', reconnect);
  on('closed', () => window.removeEventListener('online', reconnect));

  return { MAX_FOREIGN_ANSWERS, applyIdentity, onSignedOut, reconnect, reconnectIn, showLive };
}
