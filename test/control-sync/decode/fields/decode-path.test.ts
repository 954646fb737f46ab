import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, fromJson } from '@bufbuild/protobuf'
import { DecodePath, findFieldName, noteIgnored, refuse } from '../../../../control-sync/decode/fields/decode-path.ts'
import { ClusterSchema } from '../../../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { RouteActionSchema } from '../../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'

const told = (at: DecodePath): string[] => at.issues.map((i) => `${i.path}: ${i.problem}`)

test("a path has Envoy's field names, and indexes and keys in brackets", () => {
  const at = DecodePath.top()
  assert.equal(at.path, '')
  assert.equal(at.in('filter_chains').item(2).in('filters').item(0).path, 'filter_chains[2].filters[0]')
  assert.equal(at.in('typed_per_filter_config').item('a.b').in('x').path, 'typed_per_filter_config[a.b].x')
})

test('an issue outside of every piece leaves the resource unusable', () => {
  const at = DecodePath.top()
  assert.equal(at.isOpen, false)
  at.in('name').issue('is missing')
  assert.equal(at.isOpen, true)
  assert.deepEqual(told(at), ['name: is missing'])
})

test('an issue in a piece blocks that piece alone, with the first as the reason', () => {
  const at = DecodePath.top()
  const made = [0, 1].map((i) => {
    const here = at.in('routes').item(i)
    return here.piece(
      () => {
        if (i === 1) {
          here.in('match').issue('has no path')
          here.in('route').issue('has no cluster')
        }
        return 'good'
      },
      (reason) => `blocked: ${reason}`,
    )
  })
  assert.deepEqual(made, ['good', 'blocked: routes[1].match: has no path'])
  assert.equal(at.isOpen, false)
  assert.equal(told(at).length, 2)
})

test('an inner piece takes its issues upon itself, the outer one what stands beside it', () => {
  const at = DecodePath.top()
  const inner = (): string =>
    at
      .in('a')
      .in('b')
      .piece(
        () => {
          at.in('a').in('b').issue('x')
          return 'inner'
        },
        () => 'inner blocked',
      )
  assert.equal(
    at.in('a').piece(inner, () => 'outer blocked'),
    'inner blocked',
  )
  assert.equal(
    at.in('a').piece(
      () => {
        at.in('a').issue('y')
        return inner()
      },
      (reason) => `outer blocked: ${reason}`,
    ),
    'outer blocked: a: y',
  )
})

test('a piece, good or blocked, excuses no issue outside of it', () => {
  for (const isBlocked of [false, true]) {
    const at = DecodePath.top()
    at.in('name').issue('is missing')
    at.in('a').piece(
      () => {
        if (isBlocked) at.in('a').issue('x')
      },
      () => undefined,
    )
    assert.equal(at.isOpen, true)
  }
})

test('what is thrown in a piece blocks it', () => {
  const at = DecodePath.top()
  const made = at.in('a').piece(
    () => {
      throw new RangeError('too deep')
    },
    (reason) => reason,
  )
  assert.equal(made, 'a: cannot be read: too deep')
})

test('a hostile resource is not reported without end', () => {
  const at = DecodePath.top()
  for (let i = 0; i < 1_000; i++) {
    at.item(i).issue('x')
    at.item(i).ignore()
    at.skip(String(i))
  }
  assert.deepEqual([at.issues.length, at.ignored.length, at.skipped.length], [200, 200, 200])
})

test('extensions that are asked for are remembered, come or not', () => {
  const at = DecodePath.top({ extension: (name) => (name === 'a' ? Uint8Array.of(1) : undefined) })
  assert.deepEqual(at.in('x').extension('a'), Uint8Array.of(1))
  assert.equal(at.extension('b'), undefined)
  at.extension('a')
  assert.deepEqual(at.awaited, ['a', 'b'])
})

test('set fields without effect are reported by name at any depth, unknown ones by number', () => {
  const at = DecodePath.top()
  const cluster = fromJson(ClusterSchema, {
    name: 'c',
    connectTimeout: '1s',
    circuitBreakers: { thresholds: [{ maxConnections: 1 }] },
  })
  noteIgnored(at, ClusterSchema, cluster)
  assert.deepEqual(at.ignored, [])
  cluster.circuitBreakers!.thresholds[0]!.$unknown = [{ no: 9_999, wireType: 0, data: Uint8Array.of(1) }]
  noteIgnored(at, ClusterSchema, cluster)
  assert.deepEqual(at.ignored, ['circuit_breakers.thresholds[0].<field 9999>'])
})

test('a set field that may not get lost is an issue; one that is not set is none', () => {
  const at = DecodePath.top()
  refuse(at.in('route'), RouteActionSchema, create(RouteActionSchema, {}))
  assert.deepEqual(told(at), [])
  refuse(at.in('route'), RouteActionSchema, create(RouteActionSchema, { pathRewritePolicy: { name: 'x' } }))
  refuse(at.in('route'), RouteActionSchema, undefined)
  assert.match(told(at).join(), /^route\.path_rewrite_policy: is not supported$/)
})

test('a field that our protos do not have has a name all the same, where Envoy gave it one', () => {
  assert.equal(findFieldName(ClusterSchema, 9_999), '<field 9999>')
  assert.equal(findFieldName(ClusterSchema, 50), 'preconnect_policy')
})
