/** What a host is asked over HTTP and gRPC, and what its answer means. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpAsk } from '../../../../model/http/health-check.ts'
import type { OwnAnswer } from '../../../../protocols/http/own-call.ts'
import { decideGrpc, decideHttp } from '../../../../protocols/upstream/health/http.ts'
import { writeHealthRequest } from '../../../../protocols/upstream/health/grpc-health.ts'
import { frameGrpc } from '../../../../protocols/protobuf/message.ts'
import { Harness, ORIGIN, type Origin } from '../../http/harness.ts'
import { checkedCluster, checkOf, HTTP, WELL } from './rig.ts'

const answer = (status: number, headers: string[] = [], body = '', trailers?: string[]): OwnAnswer => ({
  head: { status, headers, contentLength: 0 },
  bytes: Buffer.from(body, 'latin1'),
  trailers,
})
/** `passed`, `degraded`, or why not. */
function decided(asks: Partial<HttpAsk>, of: OwnAnswer): string {
  const verdict = decideHttp(of, { ...HTTP, ...asks })
  if (verdict.kind === 'passed') return verdict.isDegraded ? 'degraded' : 'passed'
  return `${verdict.isRetriable ? 'retriable ' : ''}${verdict.excludes ? 'excluded ' : ''}${verdict.reason}`
}

test('statuses: expected, retriable, neither', () => {
  const asks = { expected: [{ start: 200, end: 300 }], retriable: [{ start: 299, end: 504 }] }
  assert.equal(decided(asks, answer(299)), 'passed')
  assert.equal(decided(asks, answer(300)), 'retriable the status is 300')
  assert.equal(decided(asks, answer(504)), 'the status is 504')
})
test('what an answer says of its host', () => {
  assert.equal(decided({}, answer(200, ['x-envoy-degraded', ''])), 'degraded')
  assert.equal(decided({}, answer(503, ['x-envoy-immediate-health-check-fail', 'x'])), 'excluded the status is 503')
  assert.equal(decided({}, answer(200, ['x-envoy-immediate-health-check-fail', 'x'])), 'passed')
  const serviceName = { kind: 'prefix', value: 'pay', ignoreCase: false } as const
  const name = 'x-envoy-upstream-healthchecked-cluster'
  assert.equal(decided({ serviceName }, answer(200, [name, 'payments'])), 'passed')
  assert.equal(decided({ serviceName }, answer(200)), 'another service answered')
})
test('parts of the body are found one behind another', () => {
  const receive = ['ab', 'b'].map((s) => Buffer.from(s))
  assert.equal(decided({ receive }, answer(200, [], 'xabxb')), 'passed')
  assert.equal(decided({ receive }, answer(200, [], 'xab')), 'the body is not the expected one')
})
test('a health service: serving, not serving, an error, no such message', () => {
  const said = (body: Buffer, trailers = ['grpc-status', '0']): string => {
    const verdict = decideGrpc(answer(200, [], body.toString('latin1'), trailers))
    return verdict.kind === 'passed' ? 'passed' : verdict.reason
  }
  assert.equal(said(frameGrpc(Buffer.from([8, 1]))), 'passed')
  assert.equal(said(frameGrpc(Buffer.from([8, 2]))), 'the service says 2')
  assert.equal(said(frameGrpc(Buffer.from([8, 1])), ['grpc-status', '12']), 'the gRPC status is 12')
  for (const broken of [Buffer.alloc(0), Buffer.from([0, 0, 0, 0, 9, 8, 1]), Buffer.from([1, 0, 0, 0, 2, 8, 1])])
    assert.equal(said(broken), 'the service says 0')
})
test('a health service is asked in its own words', () => {
  assert.equal(writeHealthRequest('a').toString('hex'), '00000000030a0161')
  assert.equal(writeHealthRequest('').toString('hex'), '0000000000')
})

async function asked(asks: Partial<HttpAsk>): Promise<string> {
  await using h = new Harness([checkedCluster(checkOf({ asks: { ...HTTP, ...asks } }))])
  const origin = await h.origin()
  await h.clock.advance(0)
  return origin.last.take()
}
test('method, host, headers and body are those of the check', async () => {
  const text = await asked({
    method: 'POST',
    path: '/x?y',
    host: 'h.test',
    headers: { remove: ['user-agent'], add: [{ name: 'x-probe', value: 'yes', how: 'append' }] },
    body: Buffer.from('ping'),
  })
  assert.equal(text, 'POST /x?y HTTP/1.1\r\nhost: h.test\r\nx-probe: yes\r\ncontent-length: 4\r\n\r\nping')
})
test('HEAD has an answer without a body', async () => {
  await using h = new Harness([checkedCluster(checkOf({ asks: { ...HTTP, method: 'HEAD' } }))])
  const origin = await h.origin()
  await h.clock.advance(0)
  await origin.answer('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n')
  assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result: 'passed' }), 1)
})

async function askedTwice(reusesConnection: boolean, between: (origin: Origin) => void = () => {}): Promise<number> {
  await using h = new Harness([checkedCluster(checkOf({ reusesConnection }))])
  const origin = await h.origin(ORIGIN)
  await h.clock.advance(0)
  await origin.answer(WELL)
  between(origin)
  await h.clock.advance(40_000)
  await origin.answer(WELL)
  assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result: 'passed' }), 2)
  return origin.connections.length
}
test('the connection stays for the next question, or not', async () => {
  assert.equal(await askedTwice(true), 1)
  assert.equal(await askedTwice(false), 2)
})
test('one that was closed while it was idle says nothing of the host', async () => {
  assert.equal(await askedTwice(true, (origin) => origin.last.stream.end()), 2)
})
test('a host that does not answer in time has not answered, and its connection is not used again', async () => {
  await using h = new Harness([checkedCluster(checkOf())])
  const origin = await h.origin()
  await h.clock.advance(0)
  await h.clock.advance(1_000)
  assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result: 'network' }), 1)
  await h.clock.advance(60_000)
  assert.equal(origin.connections.length, 2)
})
test('an answer without end is given up with its time, and keeps no more than it may', async () => {
  const asks = { ...HTTP, receive: [Buffer.from('never')] }
  await using h = new Harness([checkedCluster(checkOf({ asks }))])
  const origin = await h.origin()
  await h.clock.advance(0)
  await origin.answer('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
  for (let i = 0; i < 100; i++) origin.last.stream.write(`1000\r\n${'x'.repeat(4096)}\r\n`)
  await h.clock.advance(1_000)
  assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result: 'network' }), 1)
})

for (const [name, answer, result] of [
  ['no HTTP', 'SSH-2.0-x\r\n\r\n', 'network'],
  ['another protocol that nobody asked for', 'HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', 'network'],
  ['a head that is too large', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(200_000)}\r\n\r\n`, 'network'],
  ['interim answers without end', 'HTTP/1.1 103 Hints\r\n\r\n'.repeat(100), 'network'],
  ['a body that ends too early', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi', 'network'],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n', 'network'],
  ['an answer to a question that was not asked', `${WELL}HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n`, 'passed'],
] as const)
  test(`a hostile endpoint ends its own check and nothing else: ${name}`, async () => {
    await using h = new Harness([checkedCluster(checkOf())])
    const origin = await h.origin()
    await h.clock.advance(0)
    await origin.answer(answer)
    origin.last.stream.end()
    await h.clock.advance(0)
    assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result }), 1)
    await h.clock.advance(result === 'passed' ? 40_000 : 60_000)
    assert.ok(origin.connections.length > 1, 'the connection is not used again')
    await origin.answer(WELL)
    assert.equal(
      h.metrics.total('mesh_upstream_health_checks_total', { result: 'passed' }),
      result === 'passed' ? 2 : 1,
    )
  })
