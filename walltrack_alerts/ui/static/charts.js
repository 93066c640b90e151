// The page of charts, read while it is shown. Time runs in the viewer's zone.

import { fromFirstValue } from './buckets.js';
import { refreshCard } from './chart-card.js';
import { add, make, setText } from './dom.js';
import { newFailureCards, showFailures } from './failure-card.js';
import { createPageReader } from './page-reader.js';
import { newPlotCard, showPlot } from './plot-card.js';
import { describePlots } from './plot-kinds.js';
import { createPlots } from './plots.js';
import { storage } from './storage.js';

/** @typedef {import('./types.js').ChartData} ChartData */

const CHARTS_MS = 60000; // how old shown charts may be
const CHART_PAUSE_MS = 1000; // between two readings because alerts change
const DAYS_KEY = 'walltrack-alerts.days';
/** @type {[days: number, label: string, name: string][]} */
const RANGES = [
  [1, '24 h', '24 hours'],
  [7, '7 d', '7 days'],
  [30, '30 d', '30 days'],
];

/** The range that was chosen in this browser; null: none. */
const storedDays = () => RANGES.find(([days]) => String(days) === storage.get(DAYS_KEY))?.[0] ?? null;

/** @param {import('./types.js').Panel} panel */
export function createCharts(panel) {
  const { id, makeButton, root, on } = panel;

  const plots = createPlots(id('hatch'));
  let chosenDays = storedDays();
  /** @type {ChartData | null} null until it is read */
  let shownData = null;
  let countsKey = '';

  const page = createPageReader(panel, {
    name: 'charts',
    maxAge: CHARTS_MS,
    params: () => ({ days: chosenDays, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone }),
    onData(data) {
      shownData = chosenDays === null ? fromFirstValue(data) : data;
      if (page.isSeen()) showCharts(shownData);
    },
  });

  const plotCards = describePlots(plots).map((plot) => newPlotCard(panel, plot));
  const failureCards = newFailureCards(panel);
  const ranges = newRanges();
  const zoneNote = make('span', 'wta-muted');
  const cards = [...plotCards, ...failureCards].map((card) => card.node);
  const grid = make('div', 'wta-charts', ...cards);
  add(panel.frame.pages.charts, make('div', 'wta-charts-head', ranges, zoneNote), page.trouble, grid);

  function newRanges() {
    const group = make('div', { className: 'wta-ranges', ariaLabel: 'Time range', role: 'group' });
    for (const [days, label, name] of RANGES) {
      const choose = () => {
        chosenDays = days;
        storage.set(DAYS_KEY, String(days));
        page.read();
      };
      const button = makeButton('wta-range', label, choose, `range-${days}`);
      button.title = name;
      button.dataset.days = String(days);
      group.append(button);
    }
    return group;
  }

  /** @param {ChartData} data */
  function showCharts(data) {
    const range = RANGES.find(([days]) => days === data.days)?.[2] ?? `${data.days} days`;
    const around = [data.days, data.timezone, data.raised.map(({ from }) => from), grid.clientWidth];
    for (const card of plotCards) {
      const none = `${card.plot.none} in the last ${range}.`;
      refreshCard(card, [data[card.plot.name], ...around], none, () => showPlot(card, data, plots.paintPlot));
    }
    for (const card of failureCards) {
      const failures = data[card.list.name];
      const none = `No order failed permanently in the last ${range}.`;
      refreshCard(card, [failures, data.days], none, () => showFailures(card, failures));
    }
    for (const button of /** @type {HTMLButtonElement[]} */ ([...ranges.children]))
      button.setAttribute('aria-pressed', String(Number(button.dataset.days) === data.days));
    setText(zoneNote, data.timezone.replaceAll('_', ' '));
    root.dataset.charts = String(data.days);
    root.dataset.chartsRead = String(Number(root.dataset.chartsRead ?? 0) + 1);
  }

  on('summary', (counts) => {
    const key = JSON.stringify(Object.entries(counts).filter(([name]) => !['median', 'at'].includes(name)));
    if (key === countsKey) return;
    countsKey = key;
    if (page.isSeen()) page.readAfter(CHART_PAUSE_MS);
  });
  const resized = new ResizeObserver(() => {
    if (shownData && page.isSeen()) showCharts(shownData);
  });
  resized.observe(grid);
  on('closed', () => resized.disconnect());
}
