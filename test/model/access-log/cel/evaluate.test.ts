/** What filters of Istio's Telemetry API ask for, and what is not evaluated; Envoy's own answers: conformance/envoy/access-log. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { compileCel, compileLabel, matchesCel, printCel } from '../../../../model/access-log/cel/evaluate.ts'
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
  ["metadata.nothing['a'] == 'b'", /metadata\.nothing is no attribute/],
  ["filter_state.upstream_peer.labels['app'] == 'b'", /filter_state\.upstream_peer\.labels is no attribute/],
  ["filter_state['downstream_peer']['id'] == 'b'", /filter_state\.downstream_peer\.id is no attribute/],
  ["timestamp(response.code) == '1'", /the function timestamp is not evaluated/],
  ["request.host | 'unknown'", /there is no operator \|/],
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

const PEER = {
  name: 'web-1',
  namespace: 'shop',
  canonicalService: 'web',
  canonicalRevision: 'v2',
  cluster: 'c1',
  app: '',
  version: '7',
}
const labelled = factsOf({
  direction: 'inbound',
  peerWorkload: PEER,
  status: 404,
  local: { host: '10.0.0.1', port: 8080 },
  fields: { ':authority': 'h.test:80', ':path': '/reviews/7' },
  metadata: { 'envoy.filters.http.jwt_authn': { payload: { sub: 'anna', groups: ['a', 'b'], admin: true, level: 3 } } },
})
for (const [source, text] of [
  ['request.host', 'h.test:80'],
  ['string(destination.port)', '8080'],
  ['destination.port', '8080'],
  ['has(request.host) ? request.host : "unknown"', 'h.test:80'],
  ['has(request.referer) ? request.referer : "none"', 'none'],
  ["'x-a' in request.headers ? 'yes' : 'no'", 'no'],
  ["response.code >= 400 && response.code < 500 ? '4xx' : 'other'", '4xx'],
  ["request.url_path.matches('^/reviews/[[:alnum:]]*$') ? 'GetReview' : 'other'", 'GetReview'],
  ['filter_state.downstream_peer.workload', 'web-1'],
  ["filter_state['downstream_peer'].namespace + '/' + filter_state.downstream_peer['service']", 'shop/web'],
  ["has(filter_state.downstream_peer.app) ? 'app' : filter_state.downstream_peer.version", '7'],
  ["'revision' in filter_state.downstream_peer", 'true'],
  ['filter_state.upstream_peer.app', undefined],
  ["metadata.filter_metadata['envoy.filters.http.jwt_authn'].payload.sub", 'anna'],
  ["'b' in metadata.filter_metadata['envoy.filters.http.jwt_authn']['payload']['groups']", 'true'],
  ["string(metadata.filter_metadata['envoy.filters.http.jwt_authn'].payload.admin)", 'true'],
  ["metadata.filter_metadata['other'].payload.sub", undefined],
  ["metadata.filter_metadata['envoy.filters.http.jwt_authn'].payload", undefined],
  ["int('12') + int(3.9)", '15'],
  ["double('1.5') * 2.0", '3'],
  ["int('x')", undefined],
  ['int(true)', undefined],
  ['xds.listener_direction', '1'],
  ['connection.mtls', 'false'],
  ['"a" + 1', undefined],
] as const)
  test(`as a label: ${source} is ${text}`, () => {
    const made = compileLabel(source)
    assert.ok('expression' in made, JSON.stringify(made))
    assert.deepEqual([printCel(made.expression, labelled), made.unknown], [text, undefined])
  })

for (const [source, unknown, text] of [
  ['istio_operationId', 'istio_operationId', undefined],
  ['source.workload.name', 'source.workload', undefined],
  ['has(istio.responseClass) ? istio.responseClass : string(response.code)', 'istio.responseClass', '404'],
  ['filter_state.downstream_peer.labels', 'filter_state.downstream_peer.labels', undefined],
  ['filter_state["downstream_peer"]["labels"]', 'filter_state.downstream_peer.labels', undefined],
] as const)
  test(`as a label, with a name that is no attribute: ${source} is ${text}`, () => {
    const made = compileLabel(source)
    assert.ok('expression' in made, JSON.stringify(made))
    assert.deepEqual([printCel(made.expression, labelled), made.unknown], [text, unknown])
  })
