/**
 * Frames that make work and nothing else: the connection ends with ENHANCE_YOUR_CALM, and ordinary clients never see
 * it.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { frame, headers, RawH2 } from '../../../helpers/raw-h2.ts'
import type { Http2Event } from '../../../../protocols/http/h2/events.ts'
import { Floods } from '../../../../protocols/http/h2/floods.ts'
import { SocketOrigin, SocketRig } from '../../downstream/socket-rig.ts'
import { manager, OK } from '../harness.ts'

const GET: [string, string][] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', '/'],
]
const [DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION] = [0, 1, 2, 3, 4, 6, 7, 8, 9]
const ENHANCE_YOUR_CALM = 11
const times = (n: number, make: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: n }, (_, i) => make(i)))
const open = (i: number): Buffer => headers(2 * i + 1, [[':method', 'POST'], ...GET.slice(1)], false)
const first = Buffer.concat([open(0)])
const FLOODS: readonly { readonly kind: Http2Event; readonly what: string; readonly bytes: Buffer }[] = [
  {
    kind: 'resets',
    what: 'streams that are opened and reset (CVE-2023-44487)',
    bytes: times(1_000, (i) =>
      Buffer.concat([headers(2 * i + 1, GET, true), frame(RST, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8]))]),
    ),
  },
  {
    kind: 'resets',
    what: 'streams that are opened and reset with NO_ERROR',
    bytes: times(1_000, (i) =>
      Buffer.concat([headers(2 * i + 1, GET, true), frame(RST, 0, 2 * i + 1, Buffer.alloc(4))]),
    ),
  },
  {
    kind: 'resets',
    what: 'streams that we are made to reset, by a WINDOW_UPDATE of nothing (CVE-2025-8671)',
    bytes: times(1_000, (i) => Buffer.concat([open(i), frame(WINDOW_UPDATE, 0, 2 * i + 1, Buffer.alloc(4))])),
  },
  {
    kind: 'resets',
    what: 'streams that we are made to reset, by DATA after their end (CVE-2025-8671)',
    bytes: times(1_000, (i) =>
      Buffer.concat([headers(2 * i + 1, GET, true), frame(DATA, 0, 2 * i + 1, Buffer.from('x'))]),
    ),
  },
  {
    kind: 'resets',
    what: 'requests that are none',
    bytes: times(1_000, (i) => headers(2 * i + 1, [...GET, ['X-A', 'b']], true)),
  },
  { kind: 'resets', what: 'streams above those that are permitted', bytes: times(1_000, open) },
  { kind: 'settings', what: 'SETTINGS', bytes: times(400, () => frame(SETTINGS, 0, 0, Buffer.alloc(0))) },
  { kind: 'pings', what: 'PING', bytes: times(400, () => frame(PING, 0, 0, Buffer.alloc(8))) },
  {
    kind: 'empty frames',
    what: 'empty DATA',
    bytes: Buffer.concat([first, times(400, () => frame(DATA, 0, 1, Buffer.alloc(0)))]),
  },
  {
    kind: 'window updates',
    what: 'WINDOW_UPDATE',
    bytes: times(400, () => frame(WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 1]))),
  },
  {
    kind: 'priorities',
    what: 'PRIORITY',
    bytes: times(400, () => frame(PRIORITY, 0, 3, Buffer.from([0, 0, 0, 0, 1]))),
  },
  {
    kind: 'continuations',
    what: 'CONTINUATION',
    bytes: Buffer.concat([
      frame(HEADERS, 0, 1, Buffer.alloc(0)),
      times(100, () => frame(CONTINUATION, 0, 1, Buffer.alloc(0))),
    ]),
  },
]
async function rig(origin: SocketOrigin): Promise<SocketRig> {
  return SocketRig.open(
    { codec: { kind: 'http', http: manager(undefined, { codec: 'http2' }) } },
    { clusters: [origin.cluster()] },
  )
}

for (const { kind, what, bytes } of FLOODS) {
  test(`${what} without end: GOAWAY with ENHANCE_YOUR_CALM, a counter, and few requests reach the endpoint`, async () => {
    let asked = 0
    using origin = await SocketOrigin.listen((s) => {
      s.on('data', () => {
        asked++
        s.write(OK)
      })
    })
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
  using origin = await SocketOrigin.listen((s) => {
    s.on('data', () => {
      s.write(OK)
    })
  })
  await using proxy = await rig(origin)
  const client = new RawH2(proxy.port)
  client.socket.write(times(100, (i) => headers(2 * i + 1, GET, true)))
  await proxy.until('all answers', () => client.heard.filter((f) => f.type === 0 && (f.flags & 1) === 1).length === 100)
  client.socket.destroy()
})
test('what a client has reasons for is no flood: a handful of each, a reset of every other stream, pings over hours', () => {
  const clock = new SimClock(0)
  const found: Http2Event[] = []
  const floods = new Floods(clock, (kind) => {
    found.push(kind)
  })
  for (let i = 0; i < 10_000; i++) {
    floods.stream()
    if (i % 2 === 1) floods.reset()
    for (let n = 0; n < 100; n++) floods.frame('priorities', i + 1)
    for (let n = 0; n < 20; n++) floods.frame('window updates', i + 1)
  }
  for (let i = 0; i < 200; i++) for (const kind of ['pings', 'settings', 'empty frames'] as const) floods.frame(kind, 0)
  assert.deepEqual(found, [])
  for (let i = 0; i < 1_000; i++) floods.reset()
  assert.deepEqual(found, ['resets'])
})
test('a PING for each DATA frame that was sent is none, and what was permitted in one period is not saved for the next', async () => {
  const clock = new SimClock(0)
  const found: Http2Event[] = []
  const floods = new Floods(clock, (kind) => {
    found.push(kind)
  })
  for (let sent = 1; sent <= 10_000; sent++) floods.frame('pings', sent)
  assert.deepEqual(found, [])
  await clock.advance(11_000)
  for (let i = 0; i < 200; i++) floods.frame('pings', 10_000)
  assert.deepEqual(found, [])
  floods.frame('pings', 10_000)
  assert.deepEqual(found, ['pings'])
})
