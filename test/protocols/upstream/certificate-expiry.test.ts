/** What becomes of pooled connections and exclusive streams when a certificate expires. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { findRefusal } from '../../../protocols/tls/client.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { OK } from '../http/harness.ts'

import { CODECS, HOUR, rig, type Rig, SECOND, toServer, until } from '../expiring-nodes.ts'

/** What a call of the client's own over a pooled connection came to. */
function call(
  { client }: Rig,
  to = toServerCluster,
): { error: string | undefined; status: number | undefined; over: boolean } {
  const got = { error: undefined as string | undefined, status: undefined as number | undefined, over: false }
  client.upstreams.startCall(
    to,
    { speaks: 'http1', fresh: false, maxHostPicks: 1 } as never,
    {
      onCallPicked: () => {},
      onCallMoved: () => {},
      onCall: (c: { sendHead(r: unknown, end: boolean): void; flush(): boolean }) => {
        c.sendHead(
          { method: 'GET', authority: 'a', path: '/', scheme: 'http', headers: [], bodyLength: 0, upgrade: undefined },
          true,
        )
        c.flush()
      },
      onCallFailed: (e: { code: string }) => {
        got.error = e.code
        got.over = true
      },
      onCallHead: (h: { status: number }, end: boolean) => {
        got.status = h.status
        got.over ||= end
      },
      onCallEnd: () => {
        got.over = true
      },
      onCallInformational: () => {},
      onCallData: () => {},
      onCallPause: () => {},
      onCallDrained: () => {},
      onCallUpgraded: () => {},
    } as never,
  )
  return got
}
const toServerCluster = toServer()
const toServerH2 = toServer({ protocol: 'http2' })
for (const { whose, lives, code } of [
  { whose: 'our', lives: { client: HOUR }, code: 'MESH_IDENTITY_EXPIRED' },
  { whose: "the server's", lives: { server: HOUR }, code: 'MESH_PEER_EXPIRED' },
] as const) {
  for (const [speaks, to, codec] of [
    ['HTTP/1.1', toServerCluster, CODECS.http1],
    ['HTTP/2', toServerH2, CODECS.http2],
  ] as const) {
    const opened = async (t: TestContext): Promise<Rig> => {
      const r = await rig(t, codec, { ...lives, settings: { openConnections: 'keep' }, clientSettings: {} })
      const first = call(r, to)
      await until('it has arrived', () => r.origin.connections.length === 1)
      await r.origin.answer(OK)
      await until('answered', () => first.over)
      assert.equal(first.status, 200)
      return r
    }
    test(`outbound, ${whose} certificate expires: the pool's idle ${speaks} connection ends`, async (t) => {
      const r = await opened(t)
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 1)
      await r.w.clock.advance(HOUR - SECOND)
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 1)
      await r.w.clock.advance(2 * SECOND)
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 0)
      assert.equal(r.client.ended({ peer: 'server', code, how: 'asked' }), 1)
    })
    test(`outbound, ${whose} certificate expires: a call over ${speaks} that is under way comes to its end, and is the last one`, async (t) => {
      const r = await opened(t)
      await r.w.clock.advance(HOUR - 10 * SECOND)
      const late = call(r, to)
      await until('it has arrived', () => /GET[^]*GET/.test(r.origin.connections.map((c) => c.received).join('')))
      await r.w.clock.advance(20 * SECOND)
      await r.origin.answer(OK)
      await until('answered', () => late.over)
      assert.equal(late.status, 200)
      await settle()
      assert.equal(r.client.upstreams.clusterStatus()[0]!.connections, 0)
    })
    test(`outbound, ${whose} certificate expires: a call over ${speaks} that takes too long fails with that reason, and not the endpoint's health`, async (t) => {
      const r = await opened(t)
      await r.w.clock.advance(HOUR - 30 * SECOND)
      // The second one needs a connection of its own where there is one call at a time.
      const [slow, other] = [call(r, to), call(r, to)]
      await until('they have arrived', () =>
        /GET[^]*GET[^]*GET/.test(r.origin.connections.map((c) => c.received).join('')),
      )
      await r.w.clock.advance(59 * SECOND)
      assert.equal(slow.over, false)
      await r.w.clock.advance(3 * SECOND)
      await until('cut', () => slow.over && other.over)
      assert.deepEqual([slow.error, other.error], [code, code])
      const [status] = r.client.upstreams.clusterStatus()
      assert.deepEqual([status!.connections, status!.activeRequests, status!.endpoints[0]!.ejected], [0, 0, false])
    })
  }
}
test('outbound: an exclusive stream is told, and cut off when its time is over', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { openConnections: 'keep' }, clientSettings: {} })
  const told: string[] = []
  const { stream, release } = await r.client.upstreams.connect(toServerCluster, {
    signal: new AbortController().signal,
    speaks: 'tcp',
    onEnding: (e) => {
      told.push(e.code)
    },
  })
  stream.on('error', () => {}).resume()
  await r.w.clock.advance(HOUR)
  assert.deepEqual([told, stream.destroyed], [['MESH_PEER_EXPIRED'], false])
  await r.w.clock.advance(31 * SECOND)
  assert.equal(stream.destroyed, true)
  assert.equal(findRefusal(stream)?.code, 'MESH_PEER_EXPIRED')
  release('failed')
  assert.deepEqual(
    r.client.upstreams.clusterStatus().map((c) => [c.connections, c.endpoints[0]!.ejected]),
    [[0, false]],
  )
})
