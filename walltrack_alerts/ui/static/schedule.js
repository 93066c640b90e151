// Periodic refreshes: at intervals, and when a hidden tab is shown again.

const HEALTH_MS = 60000;
const ORDER_MS = 3000; // how often the order in the detail is read
const SAFETY_MS = 120000; // a live page reads anyway, now and then

/** @param {import('./types.js').Panel} panel */
export function startSchedule(panel) {
  const { state, root, emit, updateAge, props, on } = panel;

  /**
   * @param {number} since
   * @param {number} ms
   */
  const due = (since, ms) => Date.now() - since >= ms;
  const lastRead = { list: Date.now(), detail: Date.now(), health: Date.now() };

  function everySecond() {
    if (!panel.gradio.isShown()) {
      clearInterval(ticking);
      document.removeEventListener('visibilitychange', wakeUp);
      emit('closed');
      return;
    }
    for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll('.wta-since'))) updateAge(node);
    panel.frame.readTheme();
    panel.layout.fit();
    emit('tick');
    if (due(lastRead.health, HEALTH_MS)) {
      lastRead.health = Date.now();
      panel.reader.readHealth();
    }
    if (state.selected && !document.hidden && due(lastRead.detail, ORDER_MS) && !state.reading.detailRequests) {
      lastRead.detail = Date.now();
      panel.reader.readDetail();
    }
  }

  function pollUnlessLive() {
    const pause = state.connection.status === 'live' && !panel.reader.isFailing() ? SAFETY_MS : props.refresh_ms;
    if (!due(lastRead.list, pause)) return;
    lastRead.list = Date.now();
    panel.reader.readList({ all: true });
  }

  const wakeUp = () => {
    if (document.hidden) return;
    everySecond(); // timers sleep in hidden tabs
    if (due(state.reading.listReadAt, 5000)) panel.reader.readList({ all: true });
  };
  document.addEventListener('visibilitychange', wakeUp);
  const ticking = setInterval(everySecond, 1000);
  const polling = setInterval(pollUnlessLive, Math.min(props.refresh_ms, 1000));
  const resized = new ResizeObserver(() => {
    panel.detail.placePane();
    panel.layout.fit();
  });
  resized.observe(root);
  on('closed', () => {
    clearInterval(polling);
    resized.disconnect();
  });
}
