/** How many connections calls that come at once make: over HTTP/2 few, and as many as it takes where that is not spoken. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { Current } from '../../../core/current.ts'
import type { CallEvents, HttpCall } from '../../../protocols/http/message.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { cluster, endpoint, Harness, tablesOf } from '../http/harness.ts'
import { ANY_TLS, realContext } from '../parts.ts'

const CALLS = 12

for (const spoken of ['h2', 'http/1.1'] as const)
  test(`${CALLS} calls at once to an endpoint that settles on ${spoken}`, { timeout: 10_000 }, async (t) => {
    const { chainPem: cert, keyPem: key } = testCa().issue('a', 'b')
    const waiting: { end(text: string): unknown }[] = []
    // Nobody is answered before all are there.
    const answer = (_req: unknown, res: { end(text: string): unknown }): void => {
      waiting.push(res)
      if (waiting.length === CALLS) for (const one of waiting) one.end('hi')
    }
    const server =
      spoken === 'h2'
        ? http2.createSecureServer({ cert, key }, answer)
        : https.createServer({ cert, key, ALPNProtocols: ['http/1.1'] }, answer)
    let connections = 0
    server.on('secureConnection', () => connections++)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const transport = { kind: 'tls', tls: { ...ANY_TLS, alpnProtocols: ['h2', 'http/1.1'] } } as const
    const to = cluster([endpoint('127.0.0.1', port)], { protocol: 'http2', transport, connectTimeoutMs: 5_000 })
    const upstreams = createUpstreams(realContext({ tables: new Current(tablesOf([to])) }))
    t.after(async () => {
      await upstreams[Symbol.asyncDispose]()
      server.close()
    })
    const call = (): Promise<number> =>
      new Promise((resolve, reject) => {
        let status = 0
        const events: Partial<CallEvents> = {
          onCallPicked: () => {},
          onCall: (made: HttpCall) => {
            const end = true
            const head = {
              method: 'GET',
              scheme: 'https',
              authority: 'a',
              path: '/',
              headers: [],
              bodyLength: 0,
            } as const
            made.sendHead({ ...head, maybeTrailers: false, upgrade: undefined }, end)
            made.flush()
          },
          onCallHead: (head) => (status = head.status),
          onCallData: () => {},
          onCallPause: () => {},
          onCallEnd: () => resolve(status),
          onCallFailed: reject,
        }
        upstreams.startCall(to, { source: '', speaks: 'http2', fresh: false, maxHostPicks: 1 }, events as CallEvents)
      })
    const all = await Promise.all(Array.from({ length: CALLS }, call))
    assert.deepEqual(
      all,
      Array.from({ length: CALLS }, () => 200),
    )
    assert.equal(connections, spoken === 'h2' ? 1 : CALLS)
  })

test('connections that are spent after some calls are made together, not one behind another', async () => {
  for (const [maxRequestsPerConnection, made] of [
    [undefined, 1],
    [0, 1],
    [5, 3],
    [1, CALLS],
  ] as const) {
    const to = cluster(undefined, { protocol: 'http2', maxRequestsPerConnection })
    await using h = new Harness([to])
    const events = { onCallPicked: () => {}, onCallFailed: () => {} } as Partial<CallEvents> as CallEvents
    const options = { source: '', speaks: 'http2', fresh: false, maxHostPicks: 1 } as const
    for (let i = 0; i < CALLS; i++) h.upstreams.startCall(to, options, events)
    assert.equal(h.upstreams.clusterStatus()[0]!.connections, made, `${maxRequestsPerConnection}`)
  }
})
