// The state of a panel, in one place.

import { NO_FILTER } from './filter.js';

/**
 * @typedef {import('./types.js').Alert} Alert
 * @typedef {import('./types.js').Action} Action
 */

export function createState() {
  return {
    /** What the list shows. */
    filter: { ...NO_FILTER },
    /** @type {Alert[]} The alerts in the list, in its order. */
    loaded: [],
    /** @type {string | null} Cursor of the next page; null at the end of the list. */
    next: null,

    /** @type {string | null} Id of the alert in the detail pane. */
    selected: null,
    /** @type {import('./types.js').Detail | import('./types.js').GoneAlert | null} The last answer about it. */
    detail: null,
    /** @type {import('./types.js').ShownDetail | null} What the pane shows. */
    shown: null,
    /** @type {string | null} Id of the row that the keys act on. */
    current: null,
    /** @type {Set<string>} Ids of the rows that are ticked. */
    checked: new Set(),

    /** @type {Map<string, string>} Half-written notes by alert id. */
    drafts: new Map(),
    /** @type {Map<string, string>} Reasons for cancelling an order by alert id, until that is done. */
    reasons: new Map(),
    /** @type {{ text: string, ids: string[] }} The note of the last bulk resolve, until that is done. */
    bulkNote: { text: '', ids: [] },
    /** @type {Map<string, [string, string]>} Outcome and text of the last action by alert id. */
    outcomes: new Map(),
    /** @type {Map<string, Action>} Actions on their way by nonce. */
    pending: new Map(),
    /** @type {Map<string, Action>} Actions that the page no longer waits for; an answer may still come. */
    overdue: new Map(),

    /** @type {string | null} The name the server acts under; '' when the page has to ask; null until it is known. */
    user: null,
    /** The name given in this page, for a panel without a login. */
    fallbackName: '',
    /** @type {import('./types.js').Role | null} null until it is known. */
    role: null,
    /** Below the root of the panel; '' where it has no login of its own. */
    logoutPath: '',
    orderActions: false,

    /** The server's clock minus the page's, ms. */
    clockOffset: 0,
    /** @type {number | null} Since when readings fail, ms since 1970. */
    failingSince: null,

    /** The WebSocket; see connection.js. */
    connection: {
      /** @type {WebSocket | null} */
      socket: null,
      /** When the last message came, ms since 1970. */
      lastMessageAt: 0,
      failures: 0,
      status: 'connecting',
      since: 0,
      why: '',
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      retry: undefined,
      /** Answers in a row that came from another version of the panel. */
      foreignAnswers: 0,
    },

    /** @type {Set<string>} Ids of alerts to look at in the next reading. */
    changed: new Set(),
    /** Requests on their way; see reader.js and detail-reader.js. */
    reading: {
      isReading: false,
      /** @type {{ all: boolean } | null} The next reading, when one is wanted while another runs. */
      again: null,
      /** Number of the list that is wanted; another filter starts another list. */
      list: 0,
      /** When the list was read last, ms since 1970. */
      listReadAt: 0,
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      wake: undefined,
      isReadingHealth: false,
      isReadingMore: false,
      /** @type {Set<string>} Ids that changed while a further page was read. */
      changedWhileReading: new Set(),
      /** Requests for the detail on their way. */
      detailRequests: 0,
      detailAgain: false,
      /** Number of the last request for a detail, and of the one whose answer is shown. */
      detail: 0,
      detailShown: 0,
      /** Why the detail could not be read. */
      problem: '',
      /** How many answers to actions have come. */
      actionAnswers: 0,
      /** When the numbers were read, ms since 1970. */
      countsReadAt: 0,
      /** Whether Enter in the search waits for its list. */
      enter: false,
    },
  };
}
