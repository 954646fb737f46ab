import { test } from 'node:test'
import assert from 'node:assert/strict'
import { EMPTY_TABLES } from '../../../../model/tables.ts'
import { cluster, tablesOf } from '../../http/harness.ts'
import { OTLP, Rig, ZIPKIN } from './collectors.ts'

test('a cluster that is not there yet is waited for', async () => {
  const r = new Rig()
  r.tables.swap(EMPTY_TABLES)
  r.send('a')
  await r.pass(5_000)
  assert.equal(r.posts.length, 0)
  r.tables.swap(tablesOf([cluster()]))
  await r.pass(10_000)
  assert.deepEqual(r.names(0), ['a'])
})

test('collectors are bounded; those without work make room', async () => {
  const r = new Rig()
  const to = (i: number): void => r.exporter.send({ ...ZIPKIN, path: `/${i}` }, 'spans', Buffer.from('1'))
  for (let i = 0; i < 17; i++) to(i)
  assert.equal(r.dropped('full'), 1)
  await r.pass(5_000)
  to(17)
  assert.equal(r.dropped('full'), 1)
  await r.exporter[Symbol.asyncDispose]()
})

test('collectors whose clusters are gone make room for others, and what waits for them is counted', async () => {
  const r = new Rig()
  r.tables.swap(EMPTY_TABLES)
  for (let i = 0; i < 16; i++) r.exporter.send({ ...ZIPKIN, cluster: `${i}` }, 'spans', Buffer.from('1'))
  await r.pass(5_000)
  r.tables.swap(tablesOf([cluster()]))
  r.send('a')
  await r.pass(5_000)
  assert.deepEqual(r.names(0), ['a'])
  assert.equal(r.dropped('full'), 16)
})

test('the same settings in another configuration are the same collector', async () => {
  const r = new Rig()
  r.send('a')
  r.exporter.send({ ...ZIPKIN }, 'spans', Buffer.from('"b"'))
  await r.pass(5_000)
  assert.deepEqual(r.names(0), ['a', 'b'])
})

test('over gRPC with its headers', async () => {
  const r = new Rig()
  r.exporter.send(OTLP, 'spans', Buffer.alloc(0))
  await r.pass(5_000)
  const { authority, path, headers, speaks } = r.posts[0]!
  assert.deepEqual(
    [authority, path, speaks, headers],
    ['c.test', '/Export', 'http2', ['content-type', 'application/grpc', 'te', 'trailers', 'a', 'b']],
  )
})

const HTTP_OTLP = { ...OTLP, speaks: 'http' } as const
for (const [what, collector, answer, sent, refused] of [
  ['zipkin', ZIPKIN, { status: 400, grpcStatus: undefined }, 0, 1],
  ['zipkin', ZIPKIN, { status: 429, grpcStatus: undefined }, 0, 0],
  ['zipkin', ZIPKIN, { status: 500, grpcStatus: undefined }, 0, 0],
  ['OTLP', OTLP, { status: 200, grpcStatus: '0' }, 1, 0],
  ['OTLP', OTLP, { status: 200, grpcStatus: '3' }, 0, 1],
  ['OTLP', OTLP, { status: 200, grpcStatus: '14' }, 0, 0],
  ['OTLP', OTLP, { status: 200, grpcStatus: undefined }, 0, 0],
  ['OTLP', OTLP, { status: 404, grpcStatus: undefined }, 0, 1],
  ['OTLP over HTTP', HTTP_OTLP, { status: 204, grpcStatus: undefined }, 1, 0],
  ['OTLP over HTTP', HTTP_OTLP, { status: 503, grpcStatus: undefined }, 0, 0],
  ['OTLP over HTTP', HTTP_OTLP, { status: 500, grpcStatus: undefined }, 0, 1],
] as const)
  test(`${what}: ${answer.status} ${answer.grpcStatus}`, async () => {
    const r = new Rig()
    r.answer = () => answer
    r.exporter.send(collector, 'spans', Buffer.from('1'))
    await r.pass(5_000)
    assert.deepEqual([r.sent, r.dropped('refused')], [sent, refused])
  })
