// The cards that count failed orders, as tables with bars.

import { fillTable, newChartCard } from './chart-card.js';
import { add, make } from './dom.js';

/** @type {{ name: 'tokens' | 'errors', title: string, what: string }[]} */
const LISTS = [
  { name: 'tokens', title: 'Failed orders by token', what: 'Token' },
  { name: 'errors', title: 'Failed orders by error', what: 'Error' },
];

/** @param {import('./types.js').Panel} panel */
export const newFailureCards = (panel) =>
  LISTS.map((list) => {
    const card = { ...newChartCard(panel, list.name, list.title), list };
    add(card.node, card.table);
    return card;
  });

/**
 * @param {ReturnType<typeof newFailureCards>[number]} card
 * @param {import('./types.js').Failures[]} failures
 * @returns {boolean} whether there are any
 */
export function showFailures({ list, table }, failures) {
  const most = failures[0]?.count ?? 0;
  const cells = failures.map((each) => [each.label, String(each.count)]);
  fillTable(table, list.title, [list.what, 'Failures'], cells);
  for (const [place, { label, more, aside, count }] of failures.entries()) {
    const [head, number] = table.tBodies[0].rows[place].cells;
    head.title = more || label;
    if (aside) head.append(make('small', '', aside));
    const strip = make('i', 'wta-strip');
    strip.style.width = `${(count / most) * 100}%`;
    number.prepend(strip);
  }
  return failures.length > 0;
}
