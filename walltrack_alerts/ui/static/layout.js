// Puts the parts of the page together.

import { add, make } from './dom.js';

/** @param {import('./types.js').Panel} panel */
export function createLayout(panel) {
  const { root } = panel;

  function fit() {
    // The app around the panel and banners reduce the height that is left in the window.
    main.style.setProperty('--wta-top', `${Math.round(main.getBoundingClientRect().top + window.scrollY)}px`);
  }

  const main = make('div', 'wta-main');
  const scroller = make('div', 'wta-scroll');
  add(
    root,
    panel.frame.style,
    make(
      'header',
      'wta-head',
      panel.frame.nav,
      add(panel.frame.tools, panel.frame.person, panel.frame.liveLabel, panel.frame.helpButton),
    ),
    panel.frame.banner,
    panel.frame.healthBanner,
    make('div', 'wta-tiles', ...Object.values(panel.frame.tiles).map((each) => each.node)),
    add(
      panel.frame.pages.alerts,
      panel.filters.filterBar,
      add(
        main,
        make(
          'section',
          { className: 'wta-card', ariaLabel: 'List' },
          add(scroller, panel.selection.listHead, panel.list.list, panel.list.empty, panel.list.more),
        ),
        panel.detail.pane,
      ),
    ),
    panel.frame.pages.charts,
    panel.frame.pages.targets,
    panel.frame.toast,
  );

  return { fit, scroller };
}
