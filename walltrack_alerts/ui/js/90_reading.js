// ---- reading ----

let timer = null;
let asking = false;
let askAgain = false;

async function poll() {
  if (asking) {
    askAgain = true; // something was clicked meanwhile
    return;
  }
  clearTimeout(timer);
  asking = true;
  const asked = { severity: state.severity, selected: state.selected };
  let answer;
  try {
    answer = await Promise.race([
      server.snapshot(asked),
      new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS); }),
    ]);
  } catch {
    // Gradio's client answers undefined instead; below both are the same.
  }
  answer ??= { problem: "The panel's server cannot be reached", offline: true };
  asking = false;
  if (!element.isConnected) return;
  if (answer.problem) showProblem(answer);
  else if (asked.severity === state.severity) showSnapshot(answer, asked.selected);
  const soon = askAgain;
  askAgain = false;
  timer = setTimeout(poll, soon ? 0 : props.refresh_ms);
}

function showSnapshot(answer, selected) {
  state.clockOffset = answer.now - Date.now();
  state.failingSince = null;
  banner.hidden = true;
  showCounts(answer.counts);
  emit('summary', answer.counts);
  emit('newCritical', answer.alerts.filter((alert) => alert.severity === 'critical' && alert.created > state.asOf));
  showList(answer.alerts);
  if (selected === state.selected) {
    state.detail = answer.selected;
    showDetail();
  }
  const total = state.severity ? answer.counts.severities[state.severity] : answer.counts.unresolved;
  empty.hidden = answer.alerts.length > 0;
  setText(empty.children[1], state.severity ? `No open ${state.severity} alerts` : 'No open alerts');
  more.hidden = total <= answer.alerts.length;
  setText(more, `The first ${answer.alerts.length} of ${total}; filter by severity to see others.`);
  state.asOf = answer.now;
  root.dataset.filter = state.severity ?? 'all';
  root.dataset.shown = answer.alerts.length;
  root.dataset.state = 'live';
  setText(live, 'live');
  fit();
}

function showProblem({ problem, unreachable, offline }) {
  state.failingSince ??= Date.now();
  const what = unreachable ? 'Database unreachable' : problem.replace(/\.$/, '');
  const hint = offline ? ' If this lasts, reload the page.' : '';
  setText(banner, `${what} since ${clock(state.failingSince)}, retrying. What you see may be out of date.${hint}`);
  banner.hidden = false;
  root.dataset.state = unreachable ? 'database-unreachable' : offline ? 'offline' : 'problem';
  setText(live, 'not live');
  fit();
}

const wakeUp = () => {
  if (!document.hidden) poll(); // timers sleep in hidden tabs
};
document.addEventListener('visibilitychange', wakeUp);
const ticking = setInterval(() => {
  if (!element.isConnected) {
    clearInterval(ticking);
    document.removeEventListener('visibilitychange', wakeUp);
    emit('closed');
    return;
  }
  root.querySelectorAll('.wta-since').forEach(tick);
  fit();
}, 1000);

showPage('alerts');
showFilter();
showDetail();
trigger('identify');
poll();
