/** What istio_* metrics tell of an exchange: Envoy's flags, and the messages of gRPC while the stream lasts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Transport } from '../../../../model/cluster.ts'
import type { StatsFilter } from '../../../../model/telemetry.ts'
import { frameGrpc } from '../../../../protocols/protobuf/message.ts'
import { ANY_TLS } from '../../parts.ts'
import { cluster, GET, Harness, manager } from '../harness.ts'

const stats: StatsFilter = { hostFallback: true, dropped: new Set(), tags: new Map(), expressions: [] }

test('a failure that is meshlet’s own has the flag that Envoy gives it', async () => {
  const transport: Transport = { kind: 'tls', tls: { ...ANY_TLS, certificate: { from: 'workload' } } }
  await using h = new Harness([cluster(undefined, { transport })])
  await h.origin()
  const client = h.connect(manager(undefined, { stats }))
  await client.send(GET)
  assert.match(await client.take(), /^HTTP\/1\.1 503 /)
  assert.deepEqual(
    [h.metrics.total('istio_requests_total', { response_flags: 'UF' }), h.metrics.total('istio_requests_total')],
    [1, 1],
  )
})

const MESSAGE = frameGrpc(Buffer.from('hello')).toString('latin1')
const toChunk = (bytes: string): string => `${bytes.length.toString(16)}\r\n${bytes}\r\n`
const HEAD = 'content-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n'

for (const countsMessages of [true, false])
  test(`messages of gRPC ${countsMessages ? 'count while the stream lasts' : 'do not count without grpc_stats'}`, async () => {
    await using h = new Harness()
    const origin = await h.origin()
    const client = h.connect(manager(undefined, { stats, countsMessages }))
    const totals = (): number[] => [
      h.metrics.total('istio_request_messages_total'),
      h.metrics.total('istio_response_messages_total'),
    ]
    const expect = (...messages: number[]): number[] => (countsMessages ? messages : [0, 0])
    await client.send(`POST /s/m HTTP/1.1\r\nhost: a\r\n${HEAD}${toChunk(MESSAGE)}`)
    assert.deepEqual(totals(), [0, 0], 'nobody knows yet who the server is')
    await origin.answer(`HTTP/1.1 200 OK\r\n${HEAD}${toChunk(MESSAGE)}`)
    assert.deepEqual(totals(), expect(1, 1))
    await client.send(toChunk(MESSAGE + MESSAGE.slice(0, 4)))
    assert.deepEqual(totals(), expect(2, 1))
    await client.send(`${toChunk(MESSAGE.slice(4))}0\r\n\r\n`)
    await origin.answer(`${toChunk(MESSAGE)}0\r\ngrpc-status: 0\r\n\r\n`)
    assert.deepEqual(totals(), expect(3, 2))
    assert.equal(h.metrics.total('istio_requests_total', { request_protocol: 'grpc', grpc_response_status: '0' }), 1)
    const series = h.metrics
      .text()
      .split('\n')
      .filter((l) => l.startsWith('istio_request_messages_total{'))
    assert.deepEqual(
      series.map((l) => /response_code|connection_security_policy/.test(l)),
      countsMessages ? [false] : [],
    )
  })
