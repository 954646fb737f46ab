/** Frames that make work and nothing else: the connection ends with ENHANCE_YOUR_CALM, and ordinary clients never see it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { SimClock } from '../../helpers/sim-clock.ts'
import { frame, headers, RawH2 } from '../../helpers/raw-h2.ts'
import { Floods, type FloodKind } from '../../../protocols/http/h2-floods.ts'
import { SocketOrigin, SocketRig } from '../socket-rig.ts'
import { manager, OK } from './harness.ts'

const GET: [string, string][] = [[':method', 'GET'], [':scheme', 'http'], [':authority', 'a'], [':path', '/']]
const [RST, SETTINGS, PING, GOAWAY, ENHANCE_YOUR_CALM] = [3, 4, 6, 7, 11]
const times = (n: number, make: (i: number) => Buffer): Buffer => Buffer.concat(Array.from({ length: n }, (_, i) => make(i)))
const FLOODS: Readonly<Record<FloodKind, Buffer>> = {
  resets: times(1_000, (i) => Buffer.concat([headers(2 * i + 1, GET, true), frame(RST, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8]))])),
  settings: times(400, () => frame(SETTINGS, 0, 0, Buffer.alloc(0))),
  pings: times(400, () => frame(PING, 0, 0, Buffer.alloc(8))),
}
async function rig(origin: SocketOrigin): Promise<SocketRig> { return SocketRig.open({ codec: { kind: 'http', http: manager(undefined, { codec: 'http2' }) } }, { clusters: [origin.cluster()] }) }

for (const [kind, bytes] of Object.entries(FLOODS)) {
  test(`${kind} without end: GOAWAY with ENHANCE_YOUR_CALM, a counter, and few requests reach the endpoint`, async () => {
    let asked = 0
    using origin = await SocketOrigin.listen((s) => { s.on('data', () => { asked++; s.write(OK) }) })
    await using proxy = await rig(origin)
    const client = new RawH2(proxy.port)
    client.socket.write(bytes)
    const goaway = await client.until((f) => f.type === GOAWAY)
    assert.equal(goaway?.payload.readUInt32BE(4), ENHANCE_YOUR_CALM)
    assert.equal(proxy.metrics.total('mesh_http2_floods_total', { frames: kind }), 1)
    assert.ok(asked <= 100, `${asked} requests were made for nobody`)
    client.socket.destroy()
  })
}
test('a hundred requests in one read are all answered', async () => {
  using origin = await SocketOrigin.listen((s) => { s.on('data', () => { s.write(OK) }) })
  await using proxy = await rig(origin)
  const client = new RawH2(proxy.port)
  client.socket.write(times(100, (i) => headers(2 * i + 1, GET, true)))
  await proxy.until('all answers', () => client.heard.filter((f) => f.type === 0 && (f.flags & 1) === 1).length === 100)
  client.socket.destroy()
})
test('what a client has reasons for is no flood: a handful of each, a reset of every other stream, pings over hours', () => {
  const clock = new SimClock(0)
  const found: FloodKind[] = []
  const floods = new Floods(clock, (kind) => { found.push(kind) })
  for (let i = 0; i < 10_000; i++) { floods.stream(); if (i % 2 === 1) floods.reset() }
  for (let i = 0; i < 200; i++) { floods.frame('pings'); floods.frame('settings') }
  assert.deepEqual(found, [])
  for (let i = 0; i < 1_000; i++) floods.reset()
  assert.deepEqual(found, ['resets'])
})
