// The view of targets, dead letters and silences. It is refreshed while it is shown.

import { describeRelays } from './deliveries.js';
import { createDeliveryChanges } from './delivery-changes.js';
import { createDeliveryItems } from './delivery-items.js';
import { add, disable, make, setText, showItems } from './dom.js';
import { createPageReader } from './page-reader.js';

const TARGETS_MS = 5000; // how old a shown view may be

/** @param {import('./types.js').Panel} panel */
export function createTargets(panel) {
  const { id, makeButton, on, root, serverNow, state } = panel;

  /** @type {import('./types.js').TargetData | null} null until it is read */
  let data = null;

  const page = createPageReader(panel, {
    name: 'targets',
    maxAge: TARGETS_MS,
    onData(answer) {
      data = answer;
      showTargets();
    },
  });

  const changes = createDeliveryChanges(panel, {
    hasRelay: () => Boolean(data?.relays),
    onPending: showButtons,
  });
  const { newDeadLetter, newSilence, newTarget } = createDeliveryItems(panel, changes);

  /**
   * @param {string} name
   * @param {string} title
   */
  function newSection(name, title) {
    const part = {
      node: make('section', { className: 'wta-box', id: id(name), ariaLabel: title }),
      head: make('header'),
      aside: make('span', 'wta-muted'),
      nothing: make('p', 'wta-box-none'),
      list: make('ul', { className: 'wta-box-list', ariaLabel: title }),
    };
    add(part.node, add(part.head, make('h3', '', title), part.aside), part.nothing, part.list);
    return part;
  }

  const targets = newSection('target-list', 'Targets');
  const dead = newSection('dead-letters', 'Dead letters');
  const silences = newSection('silences', 'Silences');
  add(panel.frame.pages.targets, page.trouble, targets.node, dead.node, silences.node);

  const command = make('code', '', 'walltrack-alerts targets add NAME --webhook URL');
  add(targets.nothing, 'No targets yet. Add one: ', command);
  setText(dead.nothing, 'No dead letters.');
  setText(silences.nothing, 'No alert is silenced.');

  const replayAll = makeButton('wta-button', 'Replay all …', () => changes.askReplay(data?.dead ?? []), 'replay-all');
  const dropAll = makeButton('wta-button wta-danger', 'Drop all …', () => changes.askDrop(data?.dead ?? []), 'drop-all');
  add(dead.head, make('span', 'wta-box-buttons', replayAll, dropAll));

  function showTargets() {
    if (!data) return;
    showItems(targets.list, data.targets, newTarget);
    showItems(dead.list, data.dead, newDeadLetter);
    showItems(silences.list, data.silences, newSilence);
    for (const { list, nothing } of [targets, dead, silences]) {
      nothing.hidden = list.childElementCount > 0;
      list.hidden = !nothing.hidden;
    }
    const shown = data.dead.length;
    setText(dead.aside, shown < data.deadCount ? `the oldest ${shown} of ${data.deadCount}` : shown ? String(shown) : '');
    setText(replayAll, shown < data.deadCount ? `Replay these ${shown} …` : 'Replay all …');
    setText(dropAll, shown < data.deadCount ? `Drop these ${shown} …` : 'Drop all …');
    showRelays();
    showButtons();
    root.dataset.targets = String(data.targets.length);
    root.dataset.dead = String(data.deadCount);
  }

  function showRelays() {
    if (!data) return;
    const { relays, targets: all } = data;
    targets.aside.dataset.missing = String(!relays && all.some((each) => each.enabled));
    setText(targets.aside, describeRelays(data, serverNow()) + (relays ? '' : ' Start one: walltrack-alerts relay'));
  }

  function showButtons() {
    const isOperator = state.role === 'operator';
    for (const node of /** @type {NodeListOf<HTMLElement>} */ (panel.frame.pages.targets.querySelectorAll('.wta-box-buttons'))) {
      node.hidden = !isOperator || (node.parentElement === dead.head && (data?.dead.length ?? 0) < 2);
      for (const button of node.children) disable(button, changes.countPending() > 0);
    }
    root.dataset.changes = String(changes.countPending());
  }
  on('identity', showButtons);

  on('tick', () => {
    if (page.isSeen()) showRelays();
  });

  /**
   * @param {string} nonce
   * @param {import('./types.js').ChangeOutcome} outcome
   */
  function applyAnswer(nonce, { outcome, text }) {
    changes.settle(nonce, outcome, text);
    page.read();
    panel.reader.readHealth();
    panel.reader.readList({ all: true }); // what a silence muted
  }

  return { applyAnswer };
}
