// ---- reading: what the server functions answer, and when they are asked ----

const HEALTH_MS = 60000;
const ORDER_MS = 3000; // how often the order in the detail is looked at
const SAFETY_MS = 120000; // a live page reads anyway, now and then
const PAGE = 100;
const MANY = 500; // the most ids and rows of one request
const changed = new Set(); // ids to look at in the next reading
const reading = {
  busy: false, again: null, list: 0, at: 0, wake: null, health: false,
  called: null, calledSince: 0, // ids of what has called so far, null before the first reading; of many only the newest are read
  more: false, told: new Set(), // ids of which was heard while further rows are read
  details: 0, detailAgain: false, // requests on their way
  detail: 0, detailShown: 0, // number of the last request, and of the one whose answer is shown
  problem: '', // with the detail
  acted: 0, // answers to actions
  counts: 0, // when the numbers were read, ms
  enter: false, // whether Enter in the search waits for its list
};

async function call(name, asked) {
  let answer;
  try {
    answer = await Promise.race([server[name](asked), new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS); })]);
  } catch {
    // Gradio's client answers undefined instead; below both are the same.
  }
  return typeof answer === 'string' ? JSON.parse(answer) : { problem: "The panel's server cannot be reached", offline: true };
}

// Another list: nothing of the old one is taken over.
function startList() {
  reading.list += 1;
  root.dataset.reading = 'true';
  readList();
}

async function readList({ all = false } = {}) {
  if (reading.busy) {
    reading.again = { all: all || reading.again?.all === true };
    return;
  }
  reading.busy = true;
  const { list: asked, acted } = reading;
  const ids = [...changed];
  changed.clear();
  const everything = all || ids.length > MANY;
  let answer = await call('snapshot', { filter: state.filter, limit: PAGE, ids: everything ? [] : ids });
  const isWanted = () => element.isConnected && asked === reading.list && acted === reading.acted;
  if (!answer.problem && isWanted()) {
    // Whatever becomes of the rest of the list.
    showCounts(answer.counts);
    callOut(answer);
  }
  let whole = null; // the list as it is now, as far as it is shown; scrolling may bring further rows meanwhile
  let end = answer.next ?? null;
  if (!answer.problem && everything && root.dataset.list === String(asked)) {
    const isShort = () => end !== null && loaded.length && (!whole.length || byPlace(whole.at(-1), loaded.at(-1)) < 0);
    whole = answer.alerts;
    while (isShort() && isWanted()) {
      // As many rows as there are; then one more, two, four: it must not grow by much more than have come since.
      const surplus = whole.length - loaded.length;
      const limit = Math.min(Math.max(-surplus, surplus + 1), MANY);
      const page = await call('read_page', { filter: state.filter, after: end, limit });
      if (page.problem) {
        answer = page; // half a list would be a wrong one
        break;
      }
      whole = [...whole, ...page.alerts];
      end = page.next;
    }
  }
  reading.busy = false;
  if (!element.isConnected) return;
  if (answer.problem) {
    ids.forEach((alertId) => changed.add(alertId));
    showProblem(answer);
  } else if (acted !== reading.acted) {
    ids.forEach((alertId) => changed.add(alertId)); // older than what was done here; it is read again
    reading.again = { all: everything || reading.again?.all === true };
  } else if (asked === reading.list) {
    showSnapshot(answer);
    const failed = failing();
    root.dataset.state = 'live';
    if (failed) readHealth();
    const before = root.dataset.list;
    root.dataset.list = asked;
    if (before !== String(asked)) {
      next = answer.next;
      list.parentElement.scrollTop = 0;
      showList(answer.alerts, { fresh: true });
      emit('list');
    } else if (whole) {
      next = end;
      showList(whole);
    } else {
      mergeFirst(answer.alerts, answer.next, answer.changed, ids);
    }
    root.dataset.reading = 'false';
    lookForMore();
    showLive();
  }
  const { again } = reading;
  reading.again = null;
  if (again || asked !== reading.list) readList(again ?? {});
}

function showSnapshot(answer) {
  state.clockOffset = answer.now - Date.now();
  state.failingSince = null;
  line.strange = 0;
  reading.at = Date.now();
  banner.hidden = true;
  clearTimeout(reading.wake);
  if (answer.counts.nextWake !== null) {
    const wait = Math.min(Math.max(answer.counts.nextWake - serverNow(), 0) + 150, 2 ** 31 - 1);
    reading.wake = setTimeout(() => {
      refreshRows();
      readList({ all: true });
      if (state.selected) readDetail();
    }, wait);
  }
}

// What calls already when the page is opened never rings later, also not when it was snoozed in between. Nor does an old one
// that is read only now, because some of those that came after it call no more.
function callOut({ calling, callingSince }) {
  const fresh = reading.called === null ? [] : calling.filter((alert) => !reading.called.has(alert.id) && alert.calls > reading.calledSince);
  reading.called ??= new Set();
  calling.forEach((alert) => reading.called.add(alert.id));
  reading.calledSince = callingSince;
  if (fresh.length) emit('newCritical', fresh);
}

// They come with readings and with what is heard; those that were read earlier may arrive later.
function showCounts(counts) {
  if (counts.at < reading.counts && counts.at > reading.counts - PATIENCE_MS) return; // else a clock was set back
  reading.counts = counts.at;
  emit('summary', counts);
}

async function readMore() {
  if (next === null || reading.more) return;
  reading.more = true;
  reading.told = new Set();
  const asked = reading.list;
  const after = next;
  const answer = await call('read_page', { filter: state.filter, after, limit: PAGE });
  reading.more = false;
  if (answer.problem) {
    setTimeout(lookForMore, ORDER_MS); // the next reading of the list says what is wrong
    return;
  }
  if (asked === reading.list && after === next) mergeMore(answer.alerts, answer.next);
  lookForMore();
  if (!reading.told.size) return;
  reading.told.forEach((alertId) => changed.add(alertId)); // what the page says of them may be older
  readList();
}

function lookForMore() {
  // The observer speaks only of changes: asked anew, it looks again.
  watcher.unobserve(more);
  if (next !== null) watcher.observe(more);
}

async function readDetail() {
  if (reading.details >= 2) {
    reading.detailAgain = true; // a slow server is not kept from what is done meanwhile
    return;
  }
  const alertId = state.selected;
  const turn = (reading.detail += 1);
  reading.details += 1;
  const answer = await call('detail', { id: alertId });
  reading.details -= 1;
  const again = reading.detailAgain && state.selected !== null;
  reading.detailAgain = false;
  if (again) readDetail();
  if (turn < reading.detailShown) return;
  reading.detailShown = turn; // nothing that was asked for earlier comes after it
  if (state.selected !== alertId) return;
  reading.problem = answer.problem ?? '';
  showTrouble();
  if (answer.problem) return;
  state.detail = answer;
  showDetail();
}

async function readHealth() {
  if (reading.health || root.dataset.state !== 'live') return;
  reading.health = true;
  const answer = await call('health', {});
  reading.health = false;
  if (!answer.problem) showIllness(answer.ill);
}

function showProblem({ problem, unreachable, offline }) {
  if (line.state === 'signed-out' || (offline && line.strange >= STRANGE)) return; // the page says more already
  state.failingSince ??= Date.now();
  const what = unreachable ? 'Database unreachable' : problem.replace(/\.$/, '');
  setText(banner, `${what} since ${clock(state.failingSince)}, retrying. What you see may be out of date.`);
  banner.hidden = false;
  root.dataset.state = unreachable ? 'database-unreachable' : offline ? 'offline' : 'problem';
  showLive();
  fit();
  // Only a request tells whether it is the login that is gone, or the panel.
  if (offline && line.strange === 0 && line.state !== 'reconnecting') callAgain();
}

function offerLink(text, name) {
  banner.replaceChildren(`${text} `, reloadLink(name));
  banner.hidden = false;
}

function showSignedOut() {
  offerLink('You have been signed out. What you see is out of date.', 'Sign in again');
  root.dataset.state = 'signed-out';
}

function showReload() {
  offerLink('The panel was changed on its server. What you see is out of date.', 'Load it again');
  root.dataset.state = 'offline';
  showLive();
}

function fit() {
  // What stands above, in the app around or as a banner, takes from the height that is left in the window.
  main.style.setProperty('--wta-top', `${Math.round(main.getBoundingClientRect().top + window.scrollY)}px`);
}

// ---- the page is put together and starts ----

const main = make('div', 'wta-main');
add(
  root,
  style,
  add(make('header', 'wta-head'), nav, add(tools, person, live, helpButton)),
  banner,
  illness,
  add(make('div', 'wta-tiles'), ...Object.values(tiles).map((each) => each.node)),
  add(pages.alerts, filterBar, add(main, label(add(make('section', 'wta-card'), add(make('div', 'wta-scroll'), listHead, list, empty, more)), 'List'), pane)),
  pages.charts,
  toast,
);

const failing = () => root.dataset.state !== 'live';
const due = (since, ms) => Date.now() - since >= ms;
const asked = { list: Date.now(), detail: Date.now(), health: Date.now() };

function everySecond() {
  if (!element.isConnected) {
    clearInterval(ticking);
    document.removeEventListener('visibilitychange', wakeUp);
    emit('closed');
    return;
  }
  root.querySelectorAll('.wta-since').forEach(tick);
  readTheme();
  fit();
  emit('tick');
  if (due(asked.health, HEALTH_MS)) {
    asked.health = Date.now();
    readHealth();
  }
  if (state.selected && !document.hidden && due(asked.detail, ORDER_MS) && !reading.details) {
    asked.detail = Date.now();
    readDetail();
  }
}

function pollIfDeaf() {
  const pause = line.state === 'live' && !failing() ? SAFETY_MS : props.refresh_ms;
  if (!due(asked.list, pause)) return;
  asked.list = Date.now();
  readList({ all: true });
}

// Gradio's loading indicator goes on asking for sixty frames a second when it has long gone, a sixth of a core for each open page:
// its springs with one function that asks for itself, its stopwatch with a new one each time. The springs are not answered any
// more; the stopwatch ends where the browser calls it and it reads the time. Frames that anybody else waits for come.
function stopFrames() {
  const callers = () => new Error('who').stack.split('\n').filter((line) => /:\d+:\d+\)?$/.test(line)).slice(1);
  const ask = window.requestAnimationFrame;
  let last = null;
  let times = 0;
  window.requestAnimationFrame = (callback) => {
    if (callers().at(-1)?.includes('/assets/')) {
      times = callback === last ? times + 1 : 0;
      last = callback;
      if (times > 30) return 0;
    }
    return ask.call(window, callback);
  };
  const stop = new Error('stop');
  const silence = (event) => { if (event.error === stop) event.preventDefault(); };
  window.addEventListener('error', silence);
  performance.now = () => {
    const [caller, ...further] = callers().slice(1);
    if (caller?.includes('statustracker') && !further.length) throw stop;
    return Performance.prototype.now.call(performance);
  };
  setTimeout(() => {
    window.requestAnimationFrame = ask;
    delete performance.now;
    window.removeEventListener('error', silence);
  }, 2000);
}

function stopFramesOnceSeen() {
  if (document.hidden) document.addEventListener('visibilitychange', stopFramesOnceSeen, { once: true });
  else stopFrames();
}

const wakeUp = () => {
  if (document.hidden) return;
  everySecond(); // timers sleep in hidden tabs
  if (due(reading.at, 5000)) readList({ all: true });
};
document.addEventListener('visibilitychange', wakeUp);
const ticking = setInterval(everySecond, 1000);
const polling = setInterval(pollIfDeaf, Math.min(props.refresh_ms, 1000));
const resized = new ResizeObserver(() => {
  placePane();
  fit();
});
resized.observe(root);
on('closed', () => {
  clearInterval(polling);
  resized.disconnect();
});

const start = readUrl();
showBulk();
showFilter();
showPage(start.view);
showDetail();
placePane();
readTheme();
emit('identity');
trigger('identify', {});
callAgainIn(5000); // no answer at all
startList();
if (props.own_page) setTimeout(stopFramesOnceSeen, 2000);
if (start.alert) openAlert(start.alert, { remember: false });
