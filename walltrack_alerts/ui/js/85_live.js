// ---- live: a WebSocket tells which alerts changed; without one the page polls ----

const SILENCE_MS = 25000; // the hub speaks every 10 s
const RETRY_MS = [300, 1000, 2000, 5000];
const SOCKET_FAILURES = 3; // then there is no way for WebSockets here, and the page says that it polls
const STRANGE = 3; // times that a server answers, but not to this page: another version of the panel runs there
const line = { socket: null, heard: 0, failures: 0, state: 'connecting', since: 0, why: '', retry: null, strange: 0 };
const base = new URL('.', document.baseURI).href.replace(/\/$/, ''); // where the browser found the page, whatever proxies made of it

function showLive() {
  const { state: at, since, why } = line;
  const words = {
    live: 'live',
    connecting: 'connecting',
    stale: `stale since ${clock(since)}`,
    reconnecting: 'reconnecting',
    polling: `reading every ${Math.round(props.refresh_ms / 1000) || 1} s`,
    'signed-out': 'signed out',
  };
  const failing = !['live', 'loading'].includes(root.dataset.state);
  const shownState = failing && at === 'live' ? 'stale' : at;
  root.dataset.live = shownState;
  setText(live, failing && at === 'live' ? `stale since ${clock(state.failingSince ?? Date.now())}` : words[at]);
  live.title = why;
}

function becomeLive(at, { since = serverNow(), why = '' } = {}) {
  const was = line.state;
  line.since = at === was ? line.since : since - state.clockOffset;
  Object.assign(line, { state: at, why });
  showLive();
  if (at === was) return;
  if (at === 'live') readList({ all: true });
  readHealth();
}

function takeIdentity(answer) {
  clearTimeout(line.retry);
  reading.counts = 0; // maybe by another clock
  Object.assign(state, { user: answer.user, role: answer.role, orderActions: answer.order_actions === true });
  state.logoutPath = answer.logout_path ?? '';
  emit('identity');
  if (shown) showDetail();
  if (!answer.live_path || !answer.ticket) {
    becomeLive('polling');
    return;
  }
  connect(answer.live_path, answer.ticket);
}

function connect(path, ticket) {
  hangUp();
  const url = new URL(`${base}/${path.replace(/^\//, '')}`, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = new URLSearchParams({ ticket }).toString();
  let socket;
  try {
    socket = new WebSocket(url);
  } catch {
    lost();
    return;
  }
  line.socket = socket;
  line.heard = Date.now();
  socket.addEventListener('message', ({ data }) => {
    if (socket !== line.socket) return;
    line.heard = Date.now();
    line.failures = 0;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    const known = { live: 'live', stale: 'stale' }[message.state] ?? 'connecting';
    becomeLive(known, { since: message.since, why: message.why });
    if (message.counts) showCounts(message.counts);
    if (message.changed?.length) {
      for (const alertId of message.changed) {
        changed.add(alertId);
        if (reading.more) reading.told.add(alertId);
      }
      readList();
      if (message.changed.includes(state.selected)) readDetail();
    }
  });
  socket.addEventListener('close', () => {
    if (socket === line.socket) lost();
  });
}

function hangUp() {
  const { socket } = line;
  line.socket = null;
  clearTimeout(line.retry);
  socket?.close();
}

function lost() {
  hangUp();
  line.failures += 1;
  if (line.failures === 1) readList(); // is the server there at all?
  becomeLive(line.failures > SOCKET_FAILURES && root.dataset.state === 'live' ? 'polling' : 'reconnecting');
  const wait = RETRY_MS[Math.min(line.failures - 1, RETRY_MS.length - 1)];
  callAgainIn(wait * (0.7 + 0.6 * Math.random()));
}

// Null: the server is away.
async function checkLogin() {
  try {
    return await fetch(`${base}/gradio_api/login_check`, { signal: AbortSignal.timeout(5000) });
  } catch {
    return null;
  }
}

// A new ticket, but only from a server that answers to this page: Gradio would keep an event for later and reload the page,
// and another panel would take it for its own.
async function callAgain() {
  clearTimeout(line.retry);
  if (!element.isConnected) return;
  const answer = await checkLogin();
  if (answer?.status === 401) {
    signedOut();
  } else if (!answer?.ok) {
    line.strange = 0;
    lost();
  } else if ((await call('known', {})).offline) {
    line.strange += 1;
    if (line.strange >= STRANGE) showReload();
    callAgainIn(1500);
  } else if (line.socket) {
    // Not at once: what fails may be the reading itself.
    if (line.strange || failing()) callAgainIn(RETRY_MS[2], () => readList({ all: true }));
    line.strange = 0;
  } else {
    line.strange = 0;
    trigger('identify', { nonce: crypto.getRandomValues(new Uint32Array(2)).join('-') });
    callAgainIn(PATIENCE_MS); // no answer at all
  }
}

function callAgainIn(ms, what = callAgain) {
  clearTimeout(line.retry);
  line.retry = setTimeout(what, ms);
}

function signedOut() {
  hangUp();
  showSignedOut();
  becomeLive('signed-out');
  callAgainIn(5000); // maybe somebody signs in again in another tab
}

on('tick', () => {
  if (line.socket && Date.now() - line.heard > SILENCE_MS) lost();
});
on('closed', hangUp);
window.addEventListener('online', callAgain);
on('closed', () => window.removeEventListener('online', callAgain));
