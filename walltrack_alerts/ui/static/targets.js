// The view of targets, dead letters and silences. It is refreshed while it is shown.

import { PATIENCE_MS } from './constants.js';
import { describeFilter, describeMatches, describeRelays, nameDeliveries, stateOf } from './deliveries.js';
import { add, disable, label, make, setText } from './dom.js';
import { capital, clock, plural } from './format.js';

/**
 * @typedef {import('./types.js').DeadLetter} DeadLetter
 * @typedef {import('./types.js').Silence} Silence
 * @typedef {import('./types.js').Target} Target
 * @typedef {import('./types.js').TargetData} TargetData
 */

const TARGETS_MS = 5000; // how old a shown view may be

/** @param {import('./types.js').Panel} panel */
export function createTargets(panel) {
  const { age, id, makeButton, on, root, serverNow, state } = panel;

  const view = {
    /** @type {TargetData | null} null until it is read */
    data: null,
    asked: 0,
    turn: 0,
    /** @type {Set<string>} Changes on their way, by nonce. */
    changes: new Set(),
  };

  // ---- the cards ----

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
  const trouble = make('p', { className: 'wta-banner', hidden: true });
  add(panel.frame.pages.targets, trouble, targets.node, dead.node, silences.node);

  const command = make('code', '', 'walltrack-alerts targets add NAME --webhook URL');
  add(targets.nothing, 'No targets yet. Add one: ', command);
  setText(dead.nothing, 'No dead letters.');
  setText(silences.nothing, 'No alert is silenced.');

  const replayAll = makeButton('wta-button', 'Replay all …', () => askReplay(view.data?.dead ?? []), 'replay-all');
  const dropAll = makeButton('wta-button wta-danger', 'Drop all …', () => askDrop(view.data?.dead ?? []), 'drop-all');
  add(dead.head, make('span', 'wta-box-buttons', replayAll, dropAll));

  /**
   * @param {string} name
   * @param {(Node | string)[]} value
   */
  const fact = (name, ...value) => make('div', '', make('dt', '', name), make('dd', '', ...value));

  /** @param {Target} target */
  function newTarget(target) {
    const item = make('li', 'wta-target');
    item.dataset.target = target.name;
    item.dataset.state = stateOf(target);
    const chip = make('span', 'wta-chip wta-chip-target', stateOf(target));
    const where = [capital(target.kind), target.address].filter(Boolean).join(' · ');
    add(item, make('div', 'wta-target-head', make('b', '', target.name), make('span', 'wta-muted', where), chip));
    if (!target.enabled) {
      const why = make('p', 'wta-target-why', 'Disabled ');
      item.append(add(why, age(target.disabled ?? 0, ' ago'), target.reason && `: ${target.reason}`));
    }
    const waiting = [String(target.pending)];
    if (target.unread) waiting.push(`${plural(target.unread, 'event')} unread`);
    const pending = fact('Pending', waiting.join(' · '));
    if (target.oldest !== null) add(/** @type {Element} */ (pending.lastElementChild), ' · oldest ', age(target.oldest));
    const letters = fact('Dead letters', String(target.dead));
    letters.dataset.some = String(target.dead > 0);
    const success = target.success === null ? 'never' : age(target.success, ' ago');
    add(item, make('dl', '', fact('Last success', success), pending, letters, fact('Receives', describeFilter(target))));
    if (target.failure !== null) {
      const error = make('p', 'wta-target-error', 'Last error ');
      item.append(add(error, age(target.failure, ' ago'), `: ${target.answer || 'no response'}`));
    }
    return item;
  }

  /** @param {DeadLetter} letter */
  function newDead(letter) {
    const item = make('li', 'wta-dead');
    item.dataset.delivery = String(letter.id);
    const name = letter.title || 'Deleted alert';
    const open = makeButton('wta-link', name, () => openAlert(letter.alert), `dead-${letter.id}`);
    const chip = make('span', 'wta-chip', letter.severity);
    chip.dataset.severity = letter.severity;
    const what = make('span', 'wta-muted', `${letter.event} to ${letter.target} · ${plural(letter.attempts, 'attempt')}`);
    if (letter.tried !== null) add(what, ', the last ', age(letter.tried, ' ago'));
    const replay = makeButton('wta-button', 'Replay …', () => askReplay([letter]), `replay-${letter.id}`);
    const drop = makeButton('wta-button wta-danger', 'Drop …', () => askDrop([letter]), `drop-${letter.id}`);
    label(replay, `Replay … ${name} to ${letter.target}`);
    label(drop, `Drop … ${name} to ${letter.target}`);
    return add(
      item,
      make('div', 'wta-dead-what', make('span', 'wta-dead-name', chip, letter.title ? open : name), what),
      make('span', 'wta-dead-answer', letter.answer || 'no response'),
      make('span', 'wta-box-buttons', replay, drop),
    );
  }

  /** @param {Silence} silence */
  function newSilence(silence) {
    const item = make('li', 'wta-dead');
    item.dataset.silence = String(silence.id);
    const matches = describeMatches(silence.matches);
    const end = makeButton('wta-button', 'End …', () => askEnd(silence), `end-silence-${silence.id}`);
    label(end, `End … the silence of ${matches}`);
    return add(
      item,
      make('div', 'wta-dead-what', make('b', '', matches), make('span', 'wta-muted', `by ${silence.by}`)),
      make('span', 'wta-dead-answer', make('b', '', `until ${clock(silence.until, { seconds: false })} `), silence.reason),
      make('span', 'wta-box-buttons', end),
    );
  }

  /** @param {string} alertId */
  function openAlert(alertId) {
    panel.frame.showPage('alerts', { remember: true });
    panel.detail.openAlert(alertId);
  }

  // ---- what they show ----

  /**
   * Shows items that have not changed in the elements they have: the focus and a selection stay.
   * @template Item
   * @param {HTMLUListElement} list
   * @param {Item[]} items
   * @param {(item: Item) => HTMLLIElement} build
   */
  function showItems(list, items, build) {
    const focused = list.contains(document.activeElement) ? document.activeElement?.id : undefined;
    const before = new Map(/** @type {HTMLLIElement[]} */ ([...list.children]).map((node) => [node.dataset.key, node]));
    const nodes = items.map((item) => {
      const key = JSON.stringify(item);
      const node = before.get(key) ?? build(item);
      node.dataset.key = key;
      return node;
    });
    for (const node of before.values()) if (!nodes.includes(node)) node.remove();
    nodes.forEach((node, place) => {
      if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
    });
    if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function showTargets() {
    const { data } = view;
    if (!data) return;
    showItems(targets.list, data.targets, newTarget);
    showItems(dead.list, data.dead, newDead);
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
    if (!view.data) return;
    const { relays, targets: all } = view.data;
    targets.aside.dataset.missing = String(!relays && all.some((each) => each.enabled));
    setText(targets.aside, describeRelays(view.data, serverNow()) + (relays ? '' : ' Start one: walltrack-alerts relay'));
  }

  function showButtons() {
    const may = state.role === 'operator';
    for (const node of /** @type {NodeListOf<HTMLElement>} */ (panel.frame.pages.targets.querySelectorAll('.wta-box-buttons'))) {
      node.hidden = !may || (node.parentElement === dead.head && (view.data?.dead.length ?? 0) < 2);
      for (const button of node.children) disable(button, view.changes.size > 0);
    }
    root.dataset.changes = String(view.changes.size);
  }
  on('identity', showButtons);

  const isSeen = () => root.dataset.view === 'targets' && !document.hidden;

  async function readTargets() {
    view.asked = Date.now();
    view.turn += 1;
    const { turn } = view;
    const answer = await panel.gradio.call('targets', {});
    if (turn !== view.turn) return; // read again since, maybe after a change
    trouble.hidden = answer.problem === undefined;
    setText(trouble, answer.problem === undefined ? '' : `The targets could not be read: ${answer.problem}`);
    if (answer.signedOut) panel.reader.showProblem(answer);
    if (answer.problem !== undefined) return;
    view.data = answer;
    showTargets();
  }

  on('view', (name) => {
    if (name === 'targets') readTargets();
  });
  on('tick', () => {
    if (!isSeen()) return;
    showRelays();
    if (Date.now() - view.asked >= TARGETS_MS) readTargets();
  });

  // ---- changes ----

  /** @param {DeadLetter[]} letters */
  function askReplay(letters) {
    const what = plural(letters.length, 'delivery', 'deliveries');
    panel.dialogs.ask({
      name: 'replay',
      title: `Replay ${what}?`,
      body: [
        make('p', 'wta-them', nameDeliveries(letters)),
        make(
          'p',
          'wta-muted',
          `They get as many attempts as new deliveries.${view.data?.relays ? '' : ' They wait until a relay is running.'}`,
        ),
      ],
      confirm: `Replay ${what}`,
      onConfirm: () => change('replay_deliveries', letters),
    });
  }

  /** @param {DeadLetter[]} letters */
  function askDrop(letters) {
    const what = plural(letters.length, 'delivery', 'deliveries');
    panel.dialogs.ask({
      name: 'drop',
      title: `Drop ${what}?`,
      body: [
        make('p', 'wta-them', nameDeliveries(letters)),
        make(
          'p',
          'wta-muted',
          'This is final: dropped deliveries are never sent. The timeline of each alert shows who dropped them.',
        ),
      ],
      confirm: `Drop ${what}`,
      danger: true,
      onConfirm: () => change('drop_deliveries', letters),
    });
  }

  /** @param {Silence} silence */
  function askEnd(silence) {
    panel.dialogs.ask({
      name: 'end-silence',
      title: 'End this silence?',
      body: [
        make('p', 'wta-them', describeMatches(silence.matches)),
        make(
          'p',
          'wta-muted',
          'Its alerts make sound and are delivered again. Events that were silenced are not delivered later.',
        ),
      ],
      confirm: 'End the silence',
      onConfirm: () => change('end_silence', [silence]),
    });
  }

  /**
   * @param {'replay_deliveries' | 'drop_deliveries' | 'end_silence'} kind
   * @param {{ id: number }[]} items
   */
  async function change(kind, items) {
    if (state.user === '' && !panel.ownName()) {
      panel.dialogs.askName(() => change(kind, items));
      return;
    }
    const nonce = crypto.getRandomValues(new Uint32Array(4)).join('-');
    view.changes.add(nonce);
    showButtons();
    const obstacle = await panel.actions.findObstacle();
    if (obstacle) {
      settle(nonce, ...obstacle);
      return;
    }
    panel.gradio.send(kind, { nonce, ids: items.map((each) => each.id), actor: panel.ownName() });
    setTimeout(() => {
      if (view.changes.has(nonce))
        settle(nonce, 'failed', "The panel's server did not respond. Check the list before you try again.");
    }, PATIENCE_MS);
  }

  /**
   * @param {string} nonce
   * @param {string} outcome
   * @param {string} text
   */
  function settle(nonce, outcome, text) {
    view.changes.delete(nonce);
    showButtons();
    panel.frame.showToast(outcome, text);
  }

  /**
   * @param {string} nonce
   * @param {import('./types.js').ChangeOutcome} outcome
   */
  function applyAnswer(nonce, { outcome, text }) {
    settle(nonce, outcome, text);
    readTargets();
    panel.reader.readHealth();
    panel.reader.readList({ all: true }); // what a silence muted
  }

  return { applyAnswer };
}
