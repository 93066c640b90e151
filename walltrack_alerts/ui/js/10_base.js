// The page script of the panel: these files, joined in the order of their names, are the body of one function
// (element, trigger, props, server, upload, watch).
// Symbols, errors and names come from strangers: they are only ever placed as textContent, values or data-* attributes.

const SEVERITIES = ['critical', 'high', 'warning', 'info'];
const STATUS = { active: 'waiting', acknowledged: 'acknowledged', resolved: 'resolved', snoozed: 'snoozed' };
const NAME_KEY = 'walltrack-alerts.name';
const PATIENCE_MS = 15000; // longer than the server waits for its database
const THANKS_MS = 6000;
const NEW_MS = 2500; // how long a new row stands out
const id = (name) => `${props.panel_id}-${name}`;

const state = {
  filter: null, // what the list shows; see 25_filter.js
  selected: null, // id of the alert in the detail pane
  detail: null, // what the server said last about it
  current: null, // id of the row the keys act on
  checked: new Set(), // ids of the rows that are ticked
  drafts: new Map(), // alert id -> half-written note
  reasons: new Map(), // alert id -> reason for cancelling its order, until that is done
  bulkNote: { text: '', ids: [] }, // of the last bulk resolve, until it is done
  said: new Map(), // alert id -> [outcome, text] of the last action
  pending: new Map(), // nonce of an action on its way -> what was asked for
  overdue: new Map(), // the same, but given up: an answer may still come
  user: null, // name the server acts under; '' when the page has to ask, null until it is known
  fallbackName: '', // the name that was given at this page, which counts where nobody signs in
  role: null, // 'operator' or 'reader'
  logoutPath: '', // below the root of the panel; '' where it has no login of its own
  orderActions: false,
  clockOffset: 0, // server's clock minus the page's, ms
  failingSince: null,
};

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function makeButton(className, text, onClick, name) {
  const node = make('button', className, text);
  node.type = 'button';
  if (name) node.id = id(name);
  if (onClick) node.addEventListener('click', (event) => { if (!isDisabled(node)) onClick(event); });
  return node;
}

// A button that is disabled while an action is on its way keeps the focus: the browser would take it away for good.
const isDisabled = (button) => button.getAttribute('aria-disabled') === 'true';
const disable = (button, disabled) => button.setAttribute('aria-disabled', String(disabled));

function add(parent, ...children) {
  parent.append(...children);
  return parent;
}

function label(node, text) {
  node.setAttribute('aria-label', text);
  return node;
}

function setText(node, text) {
  // Writing only what changed keeps a selection that somebody is making with the mouse.
  if (node.textContent !== text) node.textContent = text;
}

const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const storage = {
  // Storage may be forbidden in this browser; then nothing is remembered.
  get(key) {
    try {
      return localStorage.getItem(key) ?? '';
    } catch {
      return '';
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // as above
    }
  },
};

// Who acts. A name that was given in another tab counts here once this page is opened anew, or has none.
const ownName = () => state.user || (state.fallbackName ||= storage.get(NAME_KEY));

// ---- what the parts tell each other ----
// 'summary' (counts) after each reading · 'list' when another list is shown · 'newCritical' (alerts that call since the last
// reading) · 'view' (name of the page that is shown) · 'identity' (who acts) · 'tick' each
// second · 'closed' (the panel has left the page)

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

function clock(ms, { seconds = true } = {}) {
  const at = new Date(ms);
  const digits = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(seconds && { second: '2-digit' }) };
  const time = at.toLocaleTimeString([], digits);
  const today = at.toDateString() === new Date().toDateString();
  return today ? time : `${at.toLocaleDateString([], { day: 'numeric', month: 'short' })} ${time}`;
}

// A time whose distance keeps counting: before it since then, after it ('in 5m') until then.
function age(ms, suffix = '') {
  const node = make('time', 'wta-since');
  return setAge(node, ms, suffix);
}

function setAge(node, ms, suffix = '') {
  if (node.dataset.since !== String(ms)) {
    node.dataset.since = ms;
    node.dataset.suffix = suffix;
    node.dateTime = new Date(ms).toISOString();
    node.title = new Date(ms).toLocaleString();
  }
  return tick(node);
}

function tick(node) {
  const passed = serverNow() - Number(node.dataset.since);
  setText(node, passed < -1000 ? `in ${duration(-passed)}` : duration(passed) + node.dataset.suffix);
  return node;
}
