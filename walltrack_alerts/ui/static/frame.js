// The fixed parts of the page: head, banners, tiles, navigation, toast.

import { THANKS_MS } from './constants.js';
import { add, label, make, setText } from './dom.js';
import { capital, duration } from './format.js';

/** @param {import('./types.js').Panel} panel */
export function createFrame(panel) {
  const { root, props, id, makeButton, on, emit, state, ownName } = panel;

  root.className = 'wta';
  root.dataset.state = 'loading';
  root.dataset.live = 'connecting';
  const style = make('style');
  style.textContent = props.style;

  const liveLabel = make('span', { className: 'wta-live', id: id('live') }, 'connecting');

  const banner = make('div', { className: 'wta-banner', id: id('banner'), role: 'alert', hidden: true });

  // Faults of alerting itself, with advice one click away.
  const healthSummary = make('summary');
  const healthList = make('ul');
  const healthBanner = make(
    'details',
    { className: 'wta-banner wta-illness', id: id('illness'), hidden: true },
    healthSummary,
    healthList,
  );

  /** @param {import('./types.js').Fault[]} failedChecks */
  function showHealth(failedChecks) {
    healthBanner.hidden = failedChecks.length === 0;
    root.dataset.failedChecks = String(failedChecks.length);
    panel.list.showEmpty();
    if (!failedChecks.length) return;
    const more = failedChecks.length > 1 ? ` (and ${failedChecks.length - 1} more)` : '';
    setText(healthSummary, `Alerting has a problem: ${failedChecks[0].found}${more}`);
    const key = JSON.stringify(failedChecks);
    if (healthBanner.dataset.key === key) return;
    healthBanner.dataset.key = key;
    healthList.replaceChildren(
      ...failedChecks.map(({ name, found, advice }) => {
        const help = advice ? make('span', 'wta-advice', advice) : undefined;
        return make('li', '', make('b', '', name), make('span', '', found), help);
      }),
    );
  }

  /**
   * @param {string} name
   * @param {string} text
   * @param {string} short
   * @param {() => void} [onClick]
   */
  function tile(name, text, short, onClick) {
    const node = onClick ? makeButton('wta-tile', undefined, onClick) : make('div', 'wta-tile');
    node.classList.add(`wta-tile-${name}`);
    node.id = id(name);
    const part = { node, number: make('b', '', '–'), aside: make('small') };
    add(node, part.number, make('span', 'wta-long', text, part.aside), make('span', 'wta-short', short));
    return part;
  }

  const tiles = {
    critical: tile('critical', 'critical open', 'critical', () => panel.filters.showOnly({ severities: ['critical'] })),
    unresolved: tile('unresolved', 'unresolved', 'unresolved', () => panel.filters.showOnly({})),
    waiting: tile('waiting', 'waiting for acknowledgement', 'waiting', () => panel.filters.showOnly({ status: 'active' })),
    median: tile('median', 'median time to acknowledge', 'median ack'),
  };
  tiles.median.node.title = 'Of the last 7 days';

  const TILES = /** @type {const} */ (['critical', 'unresolved', 'waiting']);
  const NUMBERS = /** @type {const} */ ([...TILES, 'acknowledged', 'snoozed']);

  on('summary', (counts) => {
    for (const name of NUMBERS) root.dataset[name] = String(counts[name]);
    for (const name of TILES) {
      const { node, number } = tiles[name];
      setText(number, String(counts[name]));
      node.dataset.some = String(counts[name] > 0);
    }
    setText(tiles.unresolved.aside, counts.snoozed ? ` + ${counts.snoozed} snoozed` : '');
    setText(tiles.median.number, counts.median === null ? '–' : duration(counts.median * 1000));
  });

  // The pages under the head; charts.js and targets.js fill their own.
  /** @type {Record<string, HTMLElement>} */
  const pages = { alerts: make('div', 'wta-page'), charts: make('div', 'wta-page'), targets: make('div', 'wta-page') };
  const nav = make('nav', { className: 'wta-nav', ariaLabel: 'Pages' });
  for (const name of Object.keys(pages)) {
    nav.append(makeButton('wta-nav-item', capital(name), () => showPage(name, { remember: true }), `nav-${name}`));
    pages[name].id = id(name === 'alerts' ? 'alerts-page' : name);
  }

  /** @param {string} name */
  function showPage(name, { remember = false } = {}) {
    root.dataset.view = name;
    Object.keys(pages).forEach((each, index) => {
      pages[each].hidden = each !== name;
      if (each === name) nav.children[index].setAttribute('aria-current', 'page');
      else nav.children[index].removeAttribute('aria-current');
    });
    if (remember) panel.filters.writeUrl({ push: true });
    panel.detail.placePane();
    emit('view', name);
  }

  // The name that actions carry; without a login it can be changed here.
  const whoButton = makeButton(
    'wta-who',
    '',
    () => {
      if (state.user === '') panel.dialogs.askName();
    },
    'who',
  );
  const logOut = makeButton('wta-who', 'Log out', () => location.assign(`${panel.gradio.base}${state.logoutPath}`), 'logout');
  logOut.hidden = true;
  const helpButton = label(
    makeButton('wta-icon', '?', () => panel.dialogs.showHelp(), 'help-button'),
    'Keys and help',
  );

  on('identity', () => {
    const name = ownName();
    root.dataset.role = state.role ?? '';
    root.dataset.user = name;
    whoButton.disabled = state.user !== '';
    whoButton.hidden = state.role === null || (state.role === 'reader' && !name);
    setText(whoButton, state.role === 'reader' ? `${name} · read only` : name || 'Your name');
    logOut.hidden = !state.logoutPath;
    whoButton.title = state.user === '' ? 'The name that is recorded with your actions. Click to change it.' : 'Signed in';
  });

  const person = make('div', 'wta-person', whoButton, logOut);

  // alarm.js puts its switch in here, left of the rest.
  const tools = make('div', 'wta-tools');
  const toast = make('div', { className: 'wta-toast', id: id('toast'), role: 'status' });

  /**
   * Shows a message; after a sign-out, with a link to the login.
   * @param {HTMLElement} node
   * @param {string} outcome
   * @param {string} text
   */
  function setMessage(node, outcome, text) {
    if (outcome !== 'signed-out') setText(node, text);
    else if (!node.querySelector('a')) node.replaceChildren(`${text} `, reloadLink('Sign in again'));
  }

  /** @param {string} name */
  function reloadLink(name) {
    const link = make('a', { href: location.href }, name);
    link.addEventListener('click', (event) => {
      event.preventDefault();
      location.reload();
    });
    return link;
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let toastTimer;

  /**
   * One line at the lower edge for messages without another place; it disappears after some seconds.
   * @param {string} outcome
   * @param {string} text
   */
  function showToast(outcome, text) {
    toast.dataset.outcome = outcome;
    const over = panel.detail.pane.matches(':modal') ? panel.detail.pane : root; // nothing else is seen above a sheet
    if (toast.parentElement !== over) over.append(toast);
    setMessage(toast, outcome, text);
    clearTimeout(toastTimer);
    if (text) toastTimer = setTimeout(() => setText(toast, ''), outcome === 'done' ? THANKS_MS : 2 * THANKS_MS);
  }

  function readTheme() {
    root.dataset.theme = panel.gradio.isDark() ? 'dark' : 'light';
  }
  return {
    banner,
    healthBanner,
    helpButton,
    liveLabel,
    nav,
    pages,
    person,
    readTheme,
    reloadLink,
    setMessage,
    showHealth,
    showPage,
    showToast,
    style,
    tiles,
    toast,
    tools,
  };
}
