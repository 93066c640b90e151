// ---- acting ----

function storedName() {
  try {
    return localStorage.getItem(NAME_KEY) ?? '';
  } catch {
    return ''; // storage is forbidden in this browser
  }
}

function storeName(name) {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // The field itself still holds it.
  }
}

function say(alertId, outcome, text) {
  state.said.set(alertId, [outcome, text]);
  if (shown?.alertId === alertId) showActions();
}

function act(kind) {
  const alertId = shown.alertId;
  const { note, name } = shown.part;
  if (kind === 'resolve' && !note.value.trim()) {
    note.setAttribute('aria-invalid', 'true');
    note.focus();
    say(alertId, 'refused', 'Write a note first: how did it end?');
    return;
  }
  if (state.user === '' && !name.value.trim()) {
    name.focus();
    say(alertId, 'refused', 'Say who you are first: the name is kept with what you do.');
    return;
  }
  if (root.dataset.state === 'offline') {
    // Gradio would keep the click for later and reload the page.
    say(alertId, 'failed', "The panel's server cannot be reached. Nothing was sent.");
    return;
  }
  const nonce = crypto.getRandomValues(new Uint32Array(4)).join('-');
  state.pending = { nonce, kind };
  say(alertId, '', '');
  const asked = { nonce, alert_id: alertId, actor: name.value.trim(), note: note.value.trim() };
  if (kind === 'resolve') trigger('resolve', asked);
  else trigger('acknowledge', asked);
  setTimeout(() => {
    if (state.pending?.nonce !== nonce) return;
    state.pending = null;
    say(alertId, 'failed', "No answer from the panel's server. Look at the status before you try again.");
  }, PATIENCE_MS);
}

watch('value', () => {
  const answer = JSON.parse(props.value);
  if (answer.user !== undefined) {
    state.user = answer.user;
    if (shown) showActions();
    return;
  }
  const done = answer.outcome === 'done';
  if (state.pending?.nonce === answer.nonce) {
    if (done && state.pending.kind === 'resolve') state.drafts.delete(answer.alert_id);
    state.pending = null;
  }
  say(answer.alert_id, answer.outcome, answer.text);
  if (done) setTimeout(() => say(answer.alert_id, '', ''), THANKS_MS);
  poll();
});
