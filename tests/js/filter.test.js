import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSameFilter, NO_FILTER, parseQuery, viewUrl } from '../../walltrack_alerts/ui/static/filter.js';

const ID = '0b8f1d1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b';
const parse = (query) => parseQuery(new URLSearchParams(query));

test('an address without a query shows all open alerts', () => {
  assert.deepEqual(parse(''), { filter: NO_FILTER, alert: null, view: 'alerts' });
});

test('an address brings back the view that wrote it', () => {
  const filter = { severities: ['critical', 'info'], status: 'all', type: 'exit', simulated: 'no', text: 'a&b = c' };
  for (const view of ['alerts', 'charts', 'targets']) {
    const url = viewUrl('https://example.org/alerts/', { filter, alert: ID, view });
    assert.deepEqual(parseQuery(new URL(url).searchParams), { filter, alert: ID, view });
  }
});

test('unknown values of a query count as absent', () => {
  const query = 'severity=critical,nonsense&status=x&type=__proto__&simulated=maybe&alert=1&view=x';
  assert.deepEqual(parse(query), { filter: { ...NO_FILTER, severities: ['critical'] }, alert: null, view: 'alerts' });
});

test('searched text is trimmed and cut at 200 characters', () => {
  assert.equal(parse(`q=%20${'x'.repeat(300)}`).filter.text.length, 199);
});

test('ids are read in either case', () => {
  assert.equal(parse(`alert=${ID.toUpperCase()}`).alert, ID);
});

test('a view leaves foreign parts of the address alone', () => {
  assert.equal(viewUrl('https://example.org/x?tab=2&status=all#end', {}), 'https://example.org/x?tab=2#end');
  const filter = { ...NO_FILTER, severities: ['critical', 'high'] };
  assert.equal(viewUrl('https://example.org/', { filter }), 'https://example.org/?severity=critical,high');
});

test('filters are compared by value', () => {
  assert.ok(isSameFilter({ ...NO_FILTER, severities: [] }, NO_FILTER));
  assert.ok(!isSameFilter({ ...NO_FILTER, text: 'x' }, NO_FILTER));
});
