// Reads the alert in the detail pane.

/** @param {import('./types.js').Panel} panel */
export function createDetailReader(panel) {
  const { state } = panel;

  async function readDetail() {
    if (state.reading.detailRequests >= 2) {
      state.reading.detailAgain = true; // a slow server gets at most two requests at once
      return;
    }
    const alertId = state.selected;
    state.reading.detail += 1;
    const turn = state.reading.detail;
    state.reading.detailRequests += 1;
    const answer = await panel.gradio.call('detail', { id: alertId });
    state.reading.detailRequests -= 1;
    const again = state.reading.detailAgain && state.selected !== null;
    state.reading.detailAgain = false;
    if (again) readDetail();
    if (turn < state.reading.detailShown) return;
    state.reading.detailShown = turn; // an answer to an earlier request is not shown after it
    if (state.selected !== alertId) return;
    state.reading.problem = answer.problem ?? '';
    panel.detail.showStaleNote();
    if (answer.signedOut) panel.reader.showProblem(answer);
    if (answer.problem !== undefined) return;
    state.detail = answer;
    panel.detail.showDetail();
  }

  return { readDetail };
}
