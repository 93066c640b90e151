// A card of the charts page: a head, the text of an empty chart, and a table.

import { make, setText } from './dom.js';

/** @typedef {ReturnType<typeof newChartCard>} ChartCard */

/**
 * @param {import('./types.js').Panel} panel
 * @param {string} name
 * @param {string} title
 */
export function newChartCard({ id }, name, title) {
  const aside = make('span', 'wta-muted');
  const nothing = make('p', 'wta-chart-none');
  const node = make(
    'section',
    { className: 'wta-chart', id: id(`chart-${name}`), ariaLabel: title },
    make('header', '', make('h3', '', title), aside),
    nothing,
  );
  return { key: '', node, aside, nothing, table: make('table') };
}

/**
 * Redraws a card if its content has changed.
 * @param {ChartCard} card
 * @param {unknown[]} content
 * @param {string} none the text of an empty chart
 * @param {() => boolean} show returns whether there was something to show
 */
export function refreshCard(card, content, none, show) {
  const key = JSON.stringify(content);
  if (key === card.key) return;
  card.key = key;
  const isFilled = show();
  card.node.dataset.some = String(isFilled);
  card.nothing.hidden = isFilled;
  card.table.hidden = !isFilled;
  setText(card.nothing, none);
}

/**
 * @param {HTMLTableElement} table
 * @param {string} caption
 * @param {string[]} head
 * @param {string[][]} rows
 */
export function fillTable(table, caption, head, rows) {
  /**
   * @param {string[]} cells
   * @param {'th' | 'td'} tag
   */
  const row = (cells, tag) =>
    make(
      'tr',
      '',
      ...cells.map((text, place) => {
        const cell = make(place ? tag : 'th', '', make('bdi', '', text));
        cell.scope = tag === 'th' ? 'col' : 'row';
        return cell;
      }),
    );
  table.replaceChildren(
    make('caption', '', caption),
    make('thead', '', row(head, 'th')),
    make('tbody', '', ...rows.map((cells) => row(cells, 'td'))),
  );
}
