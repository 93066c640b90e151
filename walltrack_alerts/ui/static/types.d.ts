// Types of the panel's data. Only tsc reads this file.

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
import type { createSelection } from './selection.js';

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
  actions: ReturnType<typeof createActions>;
  dialogs: ReturnType<typeof createDialogs>;
  charts: ReturnType<typeof createCharts>;
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

/** A row of the list, as view.row() makes it; times in ms since 1970. */
export interface Alert {
  id: string;
  place: [number, number, number];
  severity: string;
  status: string;
  by: string;
  snoozed: number | null;
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
}

/** An action on its way to the server. */
export interface Action {
  kind: string;
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
  first?: { did: string; by: string; at: number };
  away?: boolean;
}

/** A stretch of time of a chart, or a moment (`at`). */
export interface Bucket {
  from: number;
  to: number;
  at: number;
  values: (number | null)[];
  count?: number;
  x0: number;
  x1: number;
}

// biome-ignore lint/suspicious/noExplicitAny: the lists of the charts are read by name
export type ChartData = { days: number; timezone: string; raised: Bucket[]; open: Bucket[] } & Record<string, any>;
