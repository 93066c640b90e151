// Types of the panel's data. Only tsc reads this file.

import type { createActionBar } from './action-bar.js';
import type { createActions } from './actions.js';
import type { createAlarm } from './alarm.js';
import type { createCharts } from './charts.js';
import type { createConnection } from './connection.js';
import type { createContext } from './context.js';
import type { createDetail } from './detail.js';
import type { createDialogs } from './dialogs.js';
import type { createFacts } from './facts.js';
import type { createFilters } from './filters.js';
import type { createFrame } from './frame.js';
import type { createLayout } from './layout.js';
import type { createList } from './list.js';
import type { createReader } from './reader.js';
import type { createRequests } from './requests.js';
import type { createSelection } from './selection.js';
import type { createTargets } from './targets.js';

/** What Gradio gives to js_on_load of a gr.HTML. */
export interface Host {
  element: HTMLElement;
  trigger: (event: string, data?: object) => void;
  props: Props;
  server: Record<string, (args: object) => Promise<unknown>>;
  watch: (name: string, callback: () => void) => void;
}

/** What panel.py gives to the component. */
export interface Props {
  value: string;
  style: string;
  panel_id: string;
  refresh_ms: number;
  own_page: boolean;
  explorer: Record<string, string>;
}

export type Context = ReturnType<typeof createContext>;

export interface Panel extends Context {
  frame: ReturnType<typeof createFrame>;
  filters: ReturnType<typeof createFilters>;
  layout: ReturnType<typeof createLayout>;
  list: ReturnType<typeof createList>;
  selection: ReturnType<typeof createSelection>;
  detail: ReturnType<typeof createDetail>;
  facts: ReturnType<typeof createFacts>;
  requests: ReturnType<typeof createRequests>;
  actionBar: ReturnType<typeof createActionBar>;
  actions: ReturnType<typeof createActions>;
  dialogs: ReturnType<typeof createDialogs>;
  charts: ReturnType<typeof createCharts>;
  targets: ReturnType<typeof createTargets>;
  alarm: ReturnType<typeof createAlarm>;
  connection: ReturnType<typeof createConnection>;
  reader: ReturnType<typeof createReader>;
}

export interface Filter {
  severities: string[];
  status: string;
  type: string;
  simulated: string;
  text: string;
}

// ---- events between the parts of a panel ----

export interface Events {
  /** After each reading of the numbers. */
  summary: Counts;
  /** When another list is shown. */
  list: undefined;
  /** Alerts that begin to ring. */
  newCritical: RingingAlert[];
  /** Name of the page that is shown. */
  view: string;
  /** When it changes who acts. */
  identity: undefined;
  /** Each second. */
  tick: undefined;
  /** The panel has left the page. */
  closed: undefined;
}

export interface EventBus {
  on<Name extends keyof Events>(name: Name, handler: (value: Events[Name]) => void): void;
  emit<Name extends keyof Events>(name: Name, ...value: Events[Name] extends undefined ? [] : [Events[Name]]): void;
}

// ---- answers of the server functions; times in ms since 1970 ----

/** A request that failed: the database or (`offline`) the server is away, or it refuses; `signedOut`: for lack of a login. */
export interface Problem {
  problem: string;
  unreachable?: boolean;
  offline?: boolean;
  signedOut?: boolean;
}

export interface Answers {
  ping: object;
  snapshot: Snapshot;
  read_page: AlertPage;
  detail: Detail | GoneAlert;
  health: { failedChecks: Fault[] };
  charts: ChartData;
  targets: TargetData;
}

export type Answer<Name extends keyof Answers> =
  | (Answers[Name] & { problem?: undefined; unreachable?: undefined; offline?: undefined; signedOut?: undefined })
  | Problem;

export interface Snapshot extends AlertPage {
  now: number;
  counts: Counts;
  changed: Alert[];
  ringing: RingingAlert[];
  ringingSince: number;
}

export interface AlertPage {
  alerts: Alert[];
  /** Cursor of the next page; null at the end of the list. */
  next: string | null;
}

/** The numbers of the tiles; all but `snoozed` leave the snoozed ones out. */
export interface Counts {
  critical: number;
  unresolved: number;
  waiting: number;
  acknowledged: number;
  snoozed: number;
  severities: Record<string, number>;
  nextWake: number | null;
  /** Seconds to acknowledge, of the last 7 days. */
  median: number | null;
  at: number;
}

/** A failed check of alerting itself. */
export interface Fault {
  name: string;
  found: string;
  advice: string | null;
}

/** A row of the list, as view.alert_row() makes it. */
export interface Alert {
  id: string;
  place: [number, number, number];
  severity: string;
  status: string;
  by: string;
  snoozed: number | null;
  /** Of an open alert that makes no sound and is not delivered. */
  silenced: { until: number; by: string; reason: string } | null;
  title: string;
  token: string;
  address: string;
  kind: string;
  side: string;
  error: string;
  message: string;
  amount: string;
  attempts: string;
  occurrences: number;
  simulated: boolean;
  created: number;
  resolved: number | null;
  pending?: boolean;
  gone?: undefined;
}

/** An alert that rings, and since when: microseconds since 1970. */
export interface RingingAlert extends Alert {
  rings: number;
}

/** Everything about one alert. */
export interface Detail extends Alert {
  text: string;
  resolution: string;
  hasOrder: boolean;
  order: Order | null;
  /** Names and texts. */
  facts: [string, string][];
  json: string;
  timeline: TimelineEntry[];
}

/** An alert that was purged. */
export interface GoneAlert {
  id?: string;
  gone: true;
}

/** A row of the list, with the rest once it was read. */
export type KnownAlert = Alert & Partial<Detail>;

export interface TimelineEntry {
  kind: string;
  actor: string;
  at: number;
  text: string;
  /** End of a snooze; 0: it was ended. */
  until: number | null;
  /** Of the response that ended a delivery. */
  status: number | null;
  inDigest: boolean;
}

/** Why an order action is refused; `final`: it will never be possible. */
export interface Refusal {
  code: string;
  text: string;
  final: boolean;
}

export interface Order {
  status: string;
  facts: OrderFact[];
  transaction: string;
  refusals: Record<OrderAction, Refusal | null>;
  json: string;
}

export interface OrderFact {
  label: string;
  text: string;
  at: number | null;
}

// ---- actions ----

/** 'anonymous' has no login, or none any more. */
export type Role = 'operator' | 'reader' | 'anonymous';

export type OrderAction = 'retry' | 'cancel';
export type BulkAction = 'acknowledge' | 'snooze' | 'resolve';
export type ActionKind = BulkAction | OrderAction;

/** An action on its way to the server. */
export interface Action {
  kind: ActionKind;
  ids: string[];
  actor: string;
  note?: string;
  until?: number | null;
  /** The one alert it is about, or null for several. */
  alone: string | null;
  ticked: boolean;
  count: number;
  outcomes: Outcome[];
}

/** What became of an action for one alert. */
export interface Outcome {
  id: string;
  outcome: 'done' | 'late' | 'refused' | 'failed' | 'signed-out';
  text: string;
  alert?: Alert;
  /** Who did it before, and when. */
  first?: { did: string; by: string; at: number };
  away?: boolean;
}

/** What became of a change of deliveries or silences. */
export interface ChangeOutcome {
  outcome: string;
  text: string;
}

/** The answer to an event. */
export interface EventAnswer {
  nonce?: string;
  outcomes?: Outcome[];
  change?: ChangeOutcome;
  role?: Role;
  user?: string;
  order_actions?: boolean;
  logout_path?: string;
  live_path?: string;
  ticket?: string;
}

/** A message of the WebSocket. */
export interface LiveMessage {
  state?: string;
  since?: number;
  why?: string;
  counts?: Counts;
  changed?: string[];
}

// ---- the detail on the page ----

export interface ShownDetail {
  alertId: string;
  part: HeadParts & FactParts & ActionParts;
  /** What was shown last, by section. */
  keys: Record<string, string>;
}

type Named<Name extends string, Element = HTMLElement> = Record<Name, Element>;

export type HeadParts = Named<
  | 'chip'
  | 'status'
  | 'since'
  | 'token'
  | 'kind'
  | 'simulated'
  | 'title'
  | 'message'
  | 'ending'
  | 'silenced'
  | 'trouble'
  | 'links'
  | 'copy'
>;

export type FactParts = Named<
  | 'order'
  | 'orderStatus'
  | 'orderNote'
  | 'orderFacts'
  | 'orderRow'
  | 'orderJson'
  | 'orderButtons'
  | 'orderWhy'
  | 'events'
  | 'facts'
  | 'json'
> &
  Record<OrderAction, HTMLButtonElement>;

export type ActionParts = Named<'outcome' | 'readOnly' | 'buttons' | 'actions'> &
  Record<BulkAction, HTMLButtonElement> & { note: HTMLTextAreaElement };

// ---- charts ----

/** A stretch of time of a chart, or a moment (`at`). */
export interface Bucket {
  from: number;
  to: number;
  at?: number;
  values: (number | null)[];
  count?: number;
}

/** A bucket where it is drawn, px. */
export interface PlacedBucket extends Bucket {
  x0: number;
  x1: number;
}

/** A token or a kind of error, and how many orders failed. */
export interface Failures {
  label: string;
  aside: string;
  more: string;
  count: number;
}

export type PlotName = 'raised' | 'open' | 'acknowledge' | 'resolve';

export interface ChartData extends Record<PlotName, Bucket[]>, Record<'tokens' | 'errors', Failures[]> {
  days: number;
  timezone: string;
}

/** What a chart over time shows, and how. */
export interface Plot {
  name: PlotName;
  title: string;
  series: string[];
  /** Room for the labels of the values, px. */
  left: number;
  show: (value: number) => string;
  step: (most: number) => number;
  paint: (buckets: PlacedBucket[], y: (value: number) => number) => SVGElement[];
  highest: (bucket: Bucket) => number;
  hasValues: (buckets: Bucket[]) => boolean;
  aside: (buckets: Bucket[], isDaily: boolean) => string;
  /** Begins the sentence that stands there instead of an empty chart. */
  none: string;
  footer: (bucket: Bucket) => string;
}

// ---- targets, as target_view.py makes them ----

export interface TargetData {
  targets: Target[];
  dead: DeadLetter[];
  /** All of them; `dead` are the oldest. */
  deadCount: number;
  silences: Silence[];
  /** How many run. */
  relays: number;
  relaySeen: number | null;
}

export interface Target {
  name: string;
  kind: string;
  /** Without anything that may be secret. */
  address: string;
  severity: string;
  step: number;
  enabled: boolean;
  disabled: number | null;
  /** Why it is disabled. */
  reason: string;
  success: number | null;
  pending: number;
  oldest: number | null;
  unread: number;
  dead: number;
  /** The last failure of what has not arrived. */
  failure: number | null;
  isFailing: boolean;
  response: string;
}

/** A delivery that failed for good. */
export interface DeadLetter {
  id: number;
  target: string;
  alert: string;
  severity: string;
  /** '' when the alert was purged. */
  title: string;
  event: string;
  attempts: number;
  tried: number | null;
  response: string;
}

export interface Silence {
  id: number;
  matches: [string, string][];
  reason: string;
  by: string;
  until: number;
}
