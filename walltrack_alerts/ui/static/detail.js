// The detail pane: next to the list, or a sheet over it on narrow screens.

import { describeSilence, statusOf, withPending } from './alerts.js';
import { STATUS } from './constants.js';
import { add, label, make, setText } from './dom.js';
import { viewUrl } from './filter.js';
import { capital } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createDetail(panel) {
  const { id, root, state, makeButton, props, on, age, serverNow } = panel;

  const pane = make('dialog', { className: 'wta-pane', ariaLabel: 'Selected alert', id: id('detail') });
  const SHEET_BELOW = 900; // px of the panel itself, which may be in a column of another app
  const isSheet = () => root.clientWidth <= SHEET_BELOW;

  // As a sheet the dialog is modal: keyboard and screen readers cannot reach what lies under it.
  function placePane() {
    if (panel.dialogs.isAsking()) return; // a sheet would cover the question
    const sheet = isSheet();
    // On a hidden tab or page a modal dialog would lock everything around it.
    const hidden = root.clientWidth === 0 || root.dataset.view !== 'alerts';
    root.dataset.layout = sheet ? 'sheet' : 'beside';
    const wanted = !sheet ? 'beside' : hidden || state.selected === null ? 'closed' : 'sheet';
    if (pane.dataset.mode === wanted) return;
    const focused = pane.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    pane.dataset.mode = wanted;
    if (pane.matches(':modal')) pane.close();
    pane.removeAttribute('open');
    if (wanted === 'sheet') pane.showModal();
    if (wanted === 'beside') {
      pane.setAttribute('open', '');
      pane.setAttribute('role', 'region');
    } else {
      pane.removeAttribute('role');
    }
    if (focused?.isConnected && wanted !== 'closed') focused.focus({ preventScroll: true });
  }
  pane.addEventListener('cancel', (event) => {
    event.preventDefault(); // the browser would close it without changing the address
    closeAlert();
  });

  /** @param {string | null} alertId null closes the detail */
  function openAlert(alertId, { push = state.selected === null, remember = true } = {}) {
    if (state.selected !== alertId) {
      state.detail = null;
      state.reading.problem = '';
    }
    state.selected = alertId;
    if (alertId !== null && panel.list.rowOf(alertId)) state.current = alertId;
    panel.list.markRows();
    if (remember) panel.filters.writeUrl({ push });
    showDetail();
    placePane();
    if (alertId !== null) panel.reader.readDetail();
  }

  function closeAlert() {
    const from = state.selected;
    openAlert(null, { push: false });
    (panel.list.rowOf(from) ?? panel.list.rowOf(state.current))?.button.focus({ preventScroll: true });
  }

  /**
   * @param {string} alertId
   * @returns {import('./types.js').ShownDetail}
   */
  function newDetail(alertId) {
    const head = {
      chip: make('span', 'wta-chip'),
      status: make('span', 'wta-chip wta-chip-status'),
      since: make('span', 'wta-raised'),
      token: make('h3'),
      kind: make('span', 'wta-kind-tag'),
      simulated: make('i', 'wta-simulated', 'simulated'),
      title: make('p', 'wta-title'),
      message: make('p', { className: 'wta-message', id: id('message'), tabIndex: 0 }), // a long one scrolls
      ending: make('p', 'wta-ending'),
      silenced: make('p', 'wta-silence'),
      trouble: make('p', 'wta-trouble'),
      links: make('p', 'wta-links'),
    };
    const back = makeButton('wta-button wta-back', '← Alerts', () => closeAlert(), 'back');
    const close = label(
      makeButton('wta-icon wta-close', '×', () => closeAlert(), 'close'),
      'Close the detail',
    );
    const copy = makeButton(
      'wta-button wta-quiet wta-copy',
      'Copy link',
      () => {
        navigator.clipboard?.writeText(viewUrl(location.href, { alert: alertId })).then(
          () => setText(copy, 'Copied'),
          () => setText(copy, 'Not allowed'),
        );
      },
      'copy',
    );
    copy.hidden = !props.own_page || !navigator.clipboard;
    const facts = panel.facts.newFacts();
    const actions = panel.actionBar.newActionBar(alertId);
    const part = { ...head, copy, ...facts.part, ...actions };
    pane.replaceChildren(
      make('div', 'wta-detail-head', back, part.chip, part.status, close, part.trouble),
      make(
        'div',
        { className: 'wta-detail-body', tabIndex: -1 },
        make('div', 'wta-name-line', part.token, part.kind, part.simulated, part.since),
        part.title,
        part.message,
        part.ending,
        part.silenced,
        part.links,
        ...facts.nodes,
      ),
      part.actions,
    );
    return { alertId, part, keys: {} };
  }

  // Says that the detail may be out of date, and repeats the banner, which a sheet covers.
  function showStaleNote() {
    if (!state.shown) return;
    const words =
      state.reading.problem && `Could not be refreshed: ${state.reading.problem.replace(/\.$/, '')}. It may be out of date.`;
    setText(state.shown.part.trouble, isSheet() && !panel.frame.banner.hidden ? panel.frame.banner.textContent : words);
  }
  on('tick', showStaleNote);

  function newHint() {
    const keys = [
      ['j', 'k', 'move'],
      ['Enter', 'open'],
      ['a', 'acknowledge'],
      ['r', 'resolve'],
      ['/', 'search'],
      ['?', 'all keys'],
    ];
    return make(
      'div',
      'wta-hint',
      make('p', '', 'Select an alert to see what happened and to act on it.'),
      make(
        'p',
        'wta-hint-keys',
        ...keys.map((each) => make('span', '', ...each.slice(0, -1).map((key) => make('kbd', '', key)), ` ${each.at(-1)}`)),
      ),
    );
  }

  /** @param {HTMLElement} node */
  const isShown = (node) => node.getClientRects().length > 0;

  /**
   * Returns the focus to an element; where that is hidden now, such as a button of a resolved alert, to the pane.
   * @param {HTMLElement} node
   */
  function focusAgain(node) {
    const to = !pane.contains(node) || isShown(node) ? node : /** @type {HTMLElement} */ (pane.querySelector('.wta-detail-body'));
    to?.focus({ preventScroll: true });
  }

  /**
   * What is known of the alert that is shown: its row of the list until the rest is read.
   * @param {string} alertId
   * @returns {import('./types.js').KnownAlert | import('./types.js').GoneAlert | null}
   */
  const knownAlert = (alertId) => state.detail ?? panel.list.rowOf(alertId)?.alert ?? null;

  function showDetail() {
    pane.dataset.alertId = state.selected ?? '';
    if (state.selected === null) {
      if (state.shown !== null || !pane.firstChild) pane.replaceChildren(newHint());
      state.shown = null;
      pane.dataset.status = '';
      return;
    }
    if (state.shown?.alertId !== state.selected) state.shown = newDetail(state.selected);
    const { part } = state.shown;
    const known = knownAlert(state.selected);
    pane.dataset.status =
      state.detail === null
        ? 'loading'
        : state.detail.gone
          ? 'gone'
          : statusOf(withPending(state.detail, state.pending.values()), serverNow())[0];
    if (known?.gone) {
      setText(part.token, 'Gone');
      setText(part.message, 'This alert no longer exists.');
    } else if (known) {
      const alert = withPending(known, state.pending.values());
      const [status, by, acknowledged] = statusOf(alert, serverNow());
      part.chip.dataset.severity = alert.severity;
      setText(part.chip, alert.severity);
      setText(part.status, STATUS[status]);
      part.status.dataset.status = status;
      if (!part.since.firstChild) add(part.since, 'raised ', age(alert.created, ' ago'));
      setText(part.token, alert.token || capital(alert.title));
      setText(part.kind, [alert.kind.toUpperCase(), alert.side].filter(Boolean).join(' · '));
      part.simulated.hidden = !alert.simulated;
      setText(part.title, alert.token ? alert.title : '');
      setText(part.message, alert.text ?? alert.message);
      const ended = alert.status === 'resolved' && alert.resolution !== undefined;
      const ending = ended
        ? `Resolved ${by}: ${alert.resolution}`
        : status === 'active'
          ? ''
          : `${capital(STATUS[status])} ${by}${acknowledged && `, acknowledged ${acknowledged}`}`;
      part.ending.hidden = !ending;
      part.ending.dataset.status = status;
      setText(part.ending, ending);
      const silence = describeSilence(alert, serverNow());
      part.silenced.hidden = !silence;
      setText(part.silenced, silence && `${capital(silence)} by ${alert.silenced?.by}: ${alert.silenced?.reason}`);
      if (state.detail && !state.detail.gone) panel.facts.showFacts(state.shown, state.detail);
    }
    panel.actionBar.showActionBar();
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    if (focused && pane.contains(focused) && !isShown(focused)) focusAgain(focused);
  }

  return { closeAlert, focusAgain, isSheet, knownAlert, openAlert, pane, placePane, showDetail, showStaleNote };
}
