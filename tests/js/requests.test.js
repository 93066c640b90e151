import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { PATIENCE_MS } from '../../walltrack_alerts/ui/static/constants.js';
import { createRequests, newNonce } from '../../walltrack_alerts/ui/static/requests.js';

const REQUEST = { nonce: 'n', ids: ['a'], actor: 'ada' };

/** A panel whose server responds to a ping as given; `calls` lists what was done to it. */
function newPanel({ ping = {} } = {}) {
  const calls = [];
  const panel = {
    calls,
    root: { dataset: { state: 'live' } },
    state: { connection: { status: 'live' } },
    gradio: {
      call: async () => ping,
      isShown: () => true,
      onAnswer: () => {},
      send: (event, data) => calls.push([event, data.nonce]),
    },
    connection: { onSignedOut: () => calls.push('signed out') },
    reader: { showProblem: () => calls.push('problem') },
  };
  const handlers = {
    onObstacle: (outcome) => calls.push(['obstacle', outcome]),
    onTimeout: () => calls.push('timeout'),
  };
  return { ...panel, send: () => createRequests(panel).send('acknowledge', REQUEST, handlers) };
}

test('nonces differ', () => {
  assert.equal(new Set(Array.from({ length: 100 }, newNonce)).size, 100);
});

test('an event goes to a server that responds', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { send, calls } = newPanel();
  await send();
  assert.deepEqual(calls, [['acknowledge', 'n']]);
  mock.timers.tick(PATIENCE_MS);
  assert.equal(calls[1], 'timeout');
  mock.timers.reset();
});

test('no event goes to a server that is away', async () => {
  const { send, calls } = newPanel({ ping: { offline: true } });
  await send();
  assert.deepEqual(calls, ['problem', ['obstacle', 'failed']]);
});

test('after a sign-out no event is sent', async () => {
  const { send, calls } = newPanel({ ping: { offline: true, signedOut: true } });
  await send();
  assert.deepEqual(calls, ['signed out', ['obstacle', 'signed-out']]);
});

test('a known obstacle needs no request', () => {
  const panel = newPanel();
  const { knownObstacle } = createRequests(panel);
  assert.equal(knownObstacle(), null);
  panel.root.dataset.state = 'offline';
  assert.equal(knownObstacle()[0], 'failed');
  panel.state.connection.status = 'signed-out';
  assert.equal(knownObstacle()[0], 'signed-out');
});
