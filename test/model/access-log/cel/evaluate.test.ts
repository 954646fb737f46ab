/** What filters of Istio's Telemetry API ask for, and what is not evaluated; Envoy's own answers: conformance/envoy/access-log. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { compileCel, matchesCel } from '../../../../model/access-log/cel/evaluate.ts'
import { factsOf } from '../../access-log-facts.ts'

const facts = factsOf({
  status: 404,
  fields: { ':path': '/a/b?c=1', ':method': 'GET', ':authority': 'h.test', 'x-a': 'v' },
  answer: { 'x-b': 'w' },
  flags: ['NR', 'UH'],
  cluster: 'BlackHoleCluster',
  times: { DS_TX_END: 1500 },
  receivedBytes: 7,
  serverName: 'sni.test',
})

for (const [expression, want] of [
  ['response.code >= 400', true],
  ['response.code >= 400 && response.code < 404', false],
  ['!(response.code == 404)', false],
  ["request.url_path == '/a/b'", true],
  ['request.url_path.contains("b")', true],
  ["request.path.endsWith('c=1') && request.query == 'c=1'", true],
  ["request.headers['X-A'] == 'v'", true],
  ["request.headers['none'] == 'v'", false],
  ["!(request.headers['none'] == 'v')", false],
  ["request.headers['none'] == 'v' || true", true],
  ["request.headers['none'] == 'v' && false || true", true],
  ["'x-a' in request.headers", true],
  ["response.headers['x-b'] in ['u', 'w']", true],
  ['has(request.referer)', false],
  ['!has(request.referer)', true],
  ['connection.mtls', false],
  ["connection.requested_server_name.startsWith('sni.')", true],
  ['response.flags == 258', true],
  ["xds.cluster_name == 'BlackHoleCluster'", true],
  ["request.duration > duration('1s') && request.duration < duration('1m30s')", true],
  ['request.size + 1 == 8 && request.size * 2 == 14 && 7 / 2 == 3 && -7 % 4 == -3', true],
  ['request.size / 0 == 1', false],
  ["request.method == 'GET' ? false : true", false],
  ["request.path.matches('/[a-z]/b')", true],
  ["matches(request.path, '^/b')", false],
  ['size(request.method) == 3 && [1, 2].size() == 2', true],
  ['request[\'method\'] == "GET"', true],
  ["'a\\n\\u0041' == 'a\\nA' && r'\\n' == '\\\\n'", true],
  ['request.method == 5', false],
  ['request.method < 5', false],
  ['"not a boolean"', false],
  ['null == null', true],
] as const)
  test(`${expression} is ${want}`, () => {
    const made = compileCel(expression)
    assert.ok(!('problem' in made), JSON.stringify(made))
    assert.equal(matchesCel(made, facts), want)
  })

for (const [expression, problem] of [
  ['', /ends too early/],
  ['response.code >', /ends too early/],
  ['response.code 5', /5 stands where nothing may follow/],
  ['response.nothing == 1', /response\.nothing is no attribute/],
  ['nothing', /nothing is no attribute/],
  ["request['constructor'] == 1", /request\.constructor is no attribute/],
  ["metadata.filter_metadata['a'] == 'b'", /metadata\.filter_metadata is no attribute/],
  ["string(response.code) == '1'", /the function string is not evaluated/],
  ["request.path.split('a')", /the function split is not evaluated/],
  ['has(response)', /the function has is not evaluated/],
  ['request.path.matches(request.method)', /takes a pattern in quotes/],
  ["request.path.matches('(')", /missing/],
  ["duration('x') == 1", /no duration/],
  ["'\\q'", /escape \\q/],
  ['a # b', /"# b" is not understood/],
  ['(response.code', /\) is missing/],
  [`${'('.repeat(100)}1`, /nested deeper/],
  [`${'!'.repeat(100)}true`, /nested deeper/],
  ['1'.repeat(5_000), /longer than/],
] as const)
  test(`refused: ${expression.slice(0, 60)}`, () => {
    const made = compileCel(expression)
    assert.ok('problem' in made)
    assert.match(made.problem, problem)
  })
