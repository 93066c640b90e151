// Starts a panel in an element that Gradio gives it. Several panels can share a page: each has its own state and parts.

import { createActionBar } from './action-bar.js';
import { createActions } from './actions.js';
import { createAlarm } from './alarm.js';
import { createCharts } from './charts.js';
import { createConnection } from './connection.js';
import { createContext } from './context.js';
import { createDetail } from './detail.js';
import { createDialogs } from './dialogs.js';
import { createFacts } from './facts.js';
import { createFilters } from './filters.js';
import { createFrame } from './frame.js';
import { createKeys } from './keys.js';
import { createLayout } from './layout.js';
import { createList } from './list.js';
import { createReader } from './reader.js';
import { createRequests } from './requests.js';
import { startSchedule } from './schedule.js';
import { createSelection } from './selection.js';
import { createTargets } from './targets.js';

/** @param {import('./types.js').Host} host */
export function startPanel(host) {
  const panel = /** @type {import('./types.js').Panel} */ (createContext(host));
  // In this order: a part may place elements of an earlier one, and calls later ones only after the start.
  panel.frame = createFrame(panel);
  panel.filters = createFilters(panel);
  panel.list = createList(panel);
  panel.selection = createSelection(panel);
  panel.detail = createDetail(panel);
  panel.facts = createFacts(panel);
  panel.requests = createRequests(panel);
  panel.actionBar = createActionBar(panel);
  panel.actions = createActions(panel);
  panel.dialogs = createDialogs(panel);
  panel.charts = createCharts(panel);
  panel.targets = createTargets(panel);
  panel.alarm = createAlarm(panel);
  panel.connection = createConnection(panel);
  panel.reader = createReader(panel);
  panel.layout = createLayout(panel);
  createKeys(panel);
  startSchedule(panel);

  const view = panel.filters.readUrl();
  panel.selection.showBulk();
  panel.filters.showFilter();
  panel.frame.showPage(view.view);
  panel.detail.showDetail();
  panel.detail.placePane();
  panel.frame.readTheme();
  panel.emit('identity');
  panel.gradio.send('identify', {});
  panel.connection.reconnectIn(5000); // no answer at all
  panel.reader.reloadList();
  if (panel.props.own_page) panel.gradio.stopIdleFrames();
  if (view.alert) panel.detail.openAlert(view.alert, { remember: false });
}
