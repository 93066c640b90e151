// Reads from the server and applies the responses to the state.

import { comparePlaces, createNewAlertTracker, mergeFirstPage, mergeFurtherPage, nextPageLimit } from './alerts.js';
import { PATIENCE_MS } from './constants.js';
import { setText } from './dom.js';
import { clock } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createReader(panel) {
  const { state, root, emit, serverNow } = panel;

  const RETRY_MS = 3000;
  const PAGE = 100;
  const MANY = 500; // the most ids and rows of one request
  const newAlerts = createNewAlertTracker();

  const isFailing = () => root.dataset.state !== 'live';

  /** @param {Iterable<string>} ids to look at in the next reading */
  function markChanged(ids) {
    for (const alertId of ids) state.changed.add(alertId);
  }

  /**
   * Whether it ends before the rows that are loaded do.
   * @param {import('./types.js').Alert[]} alerts
   */
  function isShorter(alerts) {
    const end = state.loaded.at(-1);
    const last = alerts.at(-1);
    return end !== undefined && (last === undefined || comparePlaces(last, end) < 0);
  }

  // Starts another list; nothing of the old one is kept.
  function reloadList() {
    state.reading.list += 1;
    root.dataset.reading = 'true';
    readList();
  }

  async function readList({ all = false } = {}) {
    if (state.reading.isReading) {
      state.reading.again = { all: all || state.reading.again?.all === true };
      return;
    }
    state.reading.isReading = true;
    const { list: asked, actionAnswers } = state.reading;
    const ids = [...state.changed];
    state.changed.clear();
    const everything = all || ids.length > MANY;
    const answer = await panel.gradio.call('snapshot', { filter: state.filter, limit: PAGE, ids: everything ? [] : ids });
    const isWanted = () =>
      panel.gradio.isShown() && asked === state.reading.list && actionAnswers === state.reading.actionAnswers;
    if (answer.problem === undefined && isWanted()) {
      // Valid even if the rest of the list cannot be read.
      showCounts(answer.counts);
      const fresh = newAlerts.find(answer.ringing, answer.ringingSince);
      if (fresh.length) emit('newCritical', fresh);
    }
    const readsWhole = answer.problem === undefined && everything && root.dataset.list === String(asked);
    const whole = readsWhole ? await readWhole(answer, isWanted) : null;
    state.reading.isReading = false;
    if (!panel.gradio.isShown()) return;
    if (answer.problem !== undefined) {
      markChanged(ids);
      showProblem(answer);
    } else if (whole?.problem !== undefined) {
      markChanged(ids);
      showProblem(whole); // half a list would be a wrong one
    } else if (actionAnswers !== state.reading.actionAnswers) {
      markChanged(ids); // older than an action of this page; read again
      state.reading.again = { all: everything || state.reading.again?.all === true };
    } else if (asked === state.reading.list) {
      showSnapshot(answer);
      const failed = isFailing();
      root.dataset.state = 'live';
      if (failed) readHealth();
      const before = root.dataset.list;
      root.dataset.list = String(asked);
      if (before !== String(asked)) {
        state.next = answer.next;
        panel.layout.scroller.scrollTop = 0;
        panel.list.showList(answer.alerts, { fresh: true });
        emit('list');
      } else if (whole) {
        state.next = whole.next;
        panel.list.showList(whole.alerts);
      } else {
        const merged = mergeFirstPage({ alerts: state.loaded, next: state.next }, answer, ids);
        state.next = merged.next;
        panel.list.showList(merged.alerts);
      }
      root.dataset.reading = 'false';
      lookForMore();
      panel.connection.showLive();
    }
    const { again } = state.reading;
    state.reading.again = null;
    if (again || asked !== state.reading.list) readList(again ?? {});
  }

  /**
   * The list as far as it is loaded; scrolling may load further rows while it is read.
   * @param {import('./types.js').AlertPage} first
   * @param {() => boolean} isWanted
   * @returns {Promise<import('./types.js').Answer<'read_page'>>}
   */
  async function readWhole(first, isWanted) {
    let { alerts, next } = first;
    while (next !== null && isShorter(alerts) && isWanted()) {
      const limit = nextPageLimit(alerts.length, state.loaded.length, MANY);
      const page = await panel.gradio.call('read_page', { filter: state.filter, after: next, limit });
      if (page.problem !== undefined) return page;
      alerts = [...alerts, ...page.alerts];
      next = page.next;
    }
    return { alerts, next };
  }

  /** @param {import('./types.js').Snapshot} answer */
  function showSnapshot(answer) {
    state.clockOffset = answer.now - Date.now();
    state.failingSince = null;
    state.connection.foreignAnswers = 0;
    state.reading.listReadAt = Date.now();
    panel.frame.banner.hidden = true;
    clearTimeout(state.reading.wake);
    const ends = [answer.counts.nextWake, ...answer.alerts.map((each) => each.silenced?.until ?? null)]; // of snoozes and silences
    const next = Math.min(...ends.filter((at) => at !== null));
    if (next < Infinity) {
      const wait = Math.min(Math.max(next - serverNow(), 0) + 150, 2 ** 31 - 1);
      state.reading.wake = setTimeout(() => {
        panel.list.refreshRows();
        readList({ all: true });
        if (state.selected) readDetail();
      }, wait);
    }
  }

  /**
   * Counts come with readings and with messages; older ones may arrive later.
   * @param {import('./types.js').Counts} counts
   */
  function showCounts(counts) {
    if (counts.at < state.reading.countsReadAt && counts.at > state.reading.countsReadAt - PATIENCE_MS) return; // else a clock was set back
    state.reading.countsReadAt = counts.at;
    emit('summary', counts);
  }

  async function readMore() {
    if (state.next === null || state.reading.isReadingMore) return;
    state.reading.isReadingMore = true;
    state.reading.changedWhileReading = new Set();
    const asked = state.reading.list;
    const after = state.next;
    const answer = await panel.gradio.call('read_page', { filter: state.filter, after, limit: PAGE });
    state.reading.isReadingMore = false;
    if (answer.problem !== undefined) {
      setTimeout(lookForMore, RETRY_MS); // the next reading of the list reports the problem
      return;
    }
    if (asked === state.reading.list && after === state.next) {
      state.next = answer.next;
      panel.list.showList(mergeFurtherPage(state.loaded, answer.alerts), { fresh: true });
    }
    lookForMore();
    if (!state.reading.changedWhileReading.size) return;
    markChanged(state.reading.changedWhileReading); // the further page may show them as they were before
    readList();
  }

  function lookForMore() {
    // The observer reports changes only; observing again makes it report the current state.
    panel.list.watcher.unobserve(panel.list.more);
    if (state.next !== null) panel.list.watcher.observe(panel.list.more);
  }

  async function readDetail() {
    if (state.reading.detailRequests >= 2) {
      state.reading.detailAgain = true; // a slow server gets no more than two requests at once
      return;
    }
    const alertId = state.selected;
    state.reading.detail += 1;
    const turn = state.reading.detail;
    state.reading.detailRequests += 1;
    const answer = await panel.gradio.call('detail', { id: alertId });
    state.reading.detailRequests -= 1;
    const again = state.reading.detailAgain && state.selected !== null;
    state.reading.detailAgain = false;
    if (again) readDetail();
    if (turn < state.reading.detailShown) return;
    state.reading.detailShown = turn; // an answer to an earlier request is not shown after it
    if (state.selected !== alertId) return;
    state.reading.problem = answer.problem ?? '';
    panel.detail.showStaleNote();
    if (answer.signedOut) showProblem(answer);
    if (answer.problem !== undefined) return;
    state.detail = answer;
    panel.detail.showDetail();
  }

  async function readHealth() {
    if (state.reading.isReadingHealth || root.dataset.state !== 'live') return;
    state.reading.isReadingHealth = true;
    const answer = await panel.gradio.call('health', {});
    state.reading.isReadingHealth = false;
    if (answer.problem === undefined) panel.frame.showHealth(answer.failedChecks);
  }

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

  return {
    isFailing,
    readDetail,
    readHealth,
    readList,
    readMore,
    reloadList,
    showCounts,
    showProblem,
    showReload,
    showSignedOut,
  };
}
