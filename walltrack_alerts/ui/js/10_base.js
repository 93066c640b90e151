// The page script of the panel: these files, joined in the order of their names, are the body of one function
// (element, trigger, props, server, upload, watch).
// Symbols, errors and names come from strangers: they are only ever placed as textContent or as data-* attributes.

const SEVERITIES = ['critical', 'high', 'warning', 'info'];
const STATUS = { active: 'waiting', acknowledged: 'acknowledged', resolved: 'resolved' };
const NAME_KEY = 'walltrack-alerts.name';
const PATIENCE_MS = 15000; // longer than the server waits for its database
const THANKS_MS = 6000;
const id = (name) => `${props.panel_id}-${name}`;

const state = {
  severity: null, // the filter; null shows all
  selected: null, // id of the alert in the detail pane
  detail: null, // what the server said last about it
  drafts: new Map(), // alert id -> half-written note
  said: new Map(), // alert id -> [outcome, text] of the last action
  scrollToDetail: false,
  pending: null, // the action on its way to the server
  user: null, // name the server acts under; '' when the page has to ask, null until it is known
  clockOffset: 0, // server's clock minus the page's, ms
  failingSince: null,
  asOf: Infinity, // server's time of the last snapshot, ms; what was raised later is new
};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function add(parent, ...children) {
  parent.append(...children);
  return parent;
}

function setText(node, text) {
  // Writing only what changed keeps a selection that somebody is making with the mouse.
  if (node.textContent !== text) node.textContent = text;
}

// ---- what the parts tell each other ----
// 'summary' (counts) after each reading · 'newCritical' (alerts raised since the last reading) · 'live' (state of the
// connection) · 'view' (name of the page that is shown) · 'identity' (who acts) · 'closed' (the panel has left the page)

const handlers = new Map();

function on(name, handler) {
  handlers.set(name, [...(handlers.get(name) ?? []), handler]);
}

function emit(name, value) {
  for (const handler of handlers.get(name) ?? []) {
    try {
      handler(value);
    } catch (error) {
      console.error(error); // one part's fault is not the others'
    }
  }
}

// ---- times ----

const serverNow = () => Date.now() + state.clockOffset;

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')}m`;
  return `${Math.floor(seconds / 86400)}d ${Math.floor((seconds % 86400) / 3600)}h`;
}

function clock(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const today = at.toDateString() === new Date().toDateString();
  return today ? time : `${at.toLocaleDateString([], { day: 'numeric', month: 'short' })} ${time}`;
}

function age(ms, suffix = '') {
  const node = make('time', 'wta-since');
  node.dataset.since = ms;
  node.dataset.suffix = suffix;
  node.title = new Date(ms).toLocaleString();
  return tick(node);
}

function tick(node) {
  setText(node, duration(serverNow() - Number(node.dataset.since)) + node.dataset.suffix);
  return node;
}
