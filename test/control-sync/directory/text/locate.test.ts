import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonValue } from '@bufbuild/protobuf'
import { listOwnMessages } from '../../../../control-sync/directory/known.ts'
import { findJsonProblems, explainJson, findLine, type Tree } from '../../../../control-sync/directory/text/locate.ts'
import { ClusterSchema } from '../../../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'

const T = 'type.googleapis.com/envoy.extensions'
const found = (json: JsonValue): string[] =>
  findJsonProblems(ClusterSchema, json, listOwnMessages()).map((p) => `${p.field}: ${p.problem}`)

test('what is right has no problem, in either spelling of names', () => {
  assert.deepEqual(found({ name: 'c', connect_timeout: '1s', connectTimeout: '1s', lb_policy: null }), [])
})

for (const { name, json, want } of [
  {
    name: 'a misspelt field',
    json: { conect_timeout: '1s' },
    want: /^conect_timeout: unknown field of envoy\.config\.cluster\.v3\.Cluster \(is "connect_timeout" meant\?\)$/,
  },
  { name: 'a wrong scalar', json: { name: 7 }, want: /^name: / },
  { name: 'a wrong duration', json: { connect_timeout: 'soon' }, want: /^connect_timeout: / },
  { name: 'a message that is none', json: { outlier_detection: 3 }, want: /^outlier_detection: must be an object/ },
  {
    name: 'a list that is none',
    json: { circuit_breakers: { thresholds: {} } },
    want: /^circuit_breakers\.thresholds: must be a list$/,
  },
  {
    name: 'a map that is none',
    json: { typed_extension_protocol_options: [] },
    want: /^typed_extension_protocol_options: must be an object$/,
  },
  {
    name: 'in an item of a list',
    json: { circuit_breakers: { thresholds: [{}, { max_conections: 1 }] } },
    want: /^circuit_breakers\.thresholds\[1\]\.max_conections: unknown field/,
  },
  {
    name: 'in an Any, by its key',
    json: {
      typed_extension_protocol_options: {
        'a.b': { '@type': `${T}.upstreams.http.v3.HttpProtocolOptions`, comon: {} },
      },
    },
    want: /^typed_extension_protocol_options\[a\.b\]\.comon: unknown field/,
  },
  {
    name: 'an Any without a type',
    json: { transport_socket: { typed_config: { x: 1 } } },
    want: /^transport_socket\.typed_config: must be an object with "@type"$/,
  },
  {
    name: 'an Any of no type that there is',
    json: { transport_socket: { typed_config: { '@type': `${T}.transport_sockets.tls.v3.UpstreamTlsContex` } } },
    want: /^transport_socket\.typed_config\.@type: .* is no type of Envoy's \(is ".*UpstreamTlsContext" meant\?\)$/,
  },
] satisfies { name: string; json: JsonValue; want: RegExp }[])
  test(`a mistake has its field: ${name}`, () => {
    const problems = found(json)
    assert.equal(problems.length, 1)
    assert.match(problems[0]!, want)
  })

test('all mistakes are told, but not without end', () => {
  assert.equal(found({ a: 1, b: 2 }).length, 2)
  const thresholds = Array.from({ length: 200 }, () => ({ x: 1 }))
  assert.ok(found({ circuit_breakers: { thresholds } }).length <= 50)
})

test('the reason of a JSON error does not repeat the path', () => {
  assert.equal(explainJson(new Error('cannot decode field a.B.c from JSON: expected number')), 'expected number')
  assert.equal(explainJson('x'), 'x')
})

/** Plain data in which each value knows its line. */
type Node = { readonly line: number; readonly of?: readonly Node[] | ReadonlyMap<string, Node> }
const tree: Tree<Node> = {
  start: (node) => node.line,
  item: (node, i) => (Array.isArray(node.of) ? (node.of as readonly Node[])[i] : undefined),
  *members(node) {
    if (node.of instanceof Map) for (const [key, value] of node.of) yield { key, start: value.line, value }
  },
  lineAt: (offset) => offset,
}
const at = (line: number, of?: Node['of']): Node => (of ? { line, of } : { line })

test('the line is that of the deepest part of the path that is there', () => {
  const node = at(
    1,
    new Map([
      ['name', at(2)],
      ['filterChains', at(3, [at(4), at(5, new Map([['filters', at(6)]]))])],
      ['policies', at(7, new Map([['ns[a]-policy[b]', at(8, new Map([['rules', at(9)]]))]]))],
    ]),
  )
  assert.deepEqual(
    [
      'name',
      'filter_chains[1].filters',
      'filter_chains[1].filters[0].typed_config',
      'filter_chains[7]',
      'policies[ns[a]-policy[b]].rules',
      'nothing',
      '',
    ].map((path) => findLine(tree, node, path)),
    [2, 6, 6, 3, 9, 1, 1],
  )
})
