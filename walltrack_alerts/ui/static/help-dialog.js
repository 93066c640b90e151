// Shows the keys.

import { make } from './dom.js';

/** @type {[string[], string][]} */
const HELP = [
  [['j', '↓'], 'next alert'],
  [['k', '↑'], 'previous alert'],
  [['Enter'], 'open the alert'],
  [['Esc'], 'close, clear'],
  [['a'], 'acknowledge'],
  [['r'], 'resolve: write the note, then Ctrl+Enter'],
  [['s'], 'snooze'],
  [['x'], 'select; with selected ones a, r and s act on all of them'],
  [['/'], 'search'],
  [['?'], 'this help'],
];

/** @param {import('./dialog.js').Dialog} dialog */
export function showHelp({ ask }) {
  const keys = make('dl', 'wta-keys');
  for (const [names, text] of HELP) {
    keys.append(make('dt', '', ...names.map((name) => make('kbd', '', name))), make('dd', '', text));
  }
  ask({ name: 'help', title: 'Keys', body: [keys] });
}
