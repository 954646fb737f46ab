/** The connection of the tunnels (HBONE): a peer that asks for too much, takes nothing, or never ends. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { frame, type Heard, type RawH2, word } from '../../../helpers/raw-h2.ts'
import { answerOf, connect, HboneRig, HERE, until } from '../../hbone-rig.ts'

const RESET = 3
const GOAWAY = 7
const CALM = 11
const REFUSED_STREAM = 7
const isReset =
  (stream: number) =>
  (f: Heard): boolean =>
    f.type === RESET && f.stream === stream
const given = (rig: HboneRig): boolean => Object.values(rig.held()).every((n) => n === 0)
async function codeOfGoaway(peer: RawH2): Promise<number | undefined> {
  const said = await peer.until((f) => f.type === GOAWAY && f.payload.readUInt32BE(4) !== 0)
  return said?.payload.readUInt32BE(4)
}

test('as many tunnels as limits.maxHttp2Streams; the next is refused, and the others go on', async () => {
  await using rig = await HboneRig.open({ limits: { maxHttp2Streams: 3 } })
  rig.echo()
  const peer = await rig.peer()
  for (const stream of [1, 3, 5, 7]) peer.socket.write(connect(stream, `${HERE}:${rig.ports.tcp}`))
  const refused = await peer.until(isReset(7))
  assert.equal(refused?.payload.readUInt32BE(), REFUSED_STREAM)
  peer.socket.write(frame(0, 0, 5, Buffer.from('hello')))
  const back = await peer.until((f) => f.type === 0 && f.stream === 5)
  assert.equal(back?.payload.toString(), 'HELLO')
  peer.close()
  await until('all is given back', () => given(rig))
})

test('limits.maxConnectionsPerSource counts tunnels: 503, and no connection behind it', async () => {
  // One is the connection of the tunnels itself.
  await using rig = await HboneRig.open({ limits: { maxConnectionsPerSource: 3 } })
  const peer = await rig.peer()
  for (const stream of [1, 3, 5]) {
    peer.socket.write(connect(stream, `${HERE}:${rig.ports.tcp}`))
    assert.equal(await answerOf(peer, stream), stream < 5 ? 200 : 503)
  }
  assert.equal(rig.metrics.total('mesh_connections_limit_met_total', { limit: 'source' }), 1)
  assert.equal(rig.sockets.length, 2)
  peer.close()
})

test('tunnels that are opened and reset at once, again and again, end the connection', async () => {
  await using rig = await HboneRig.open()
  const peer = await rig.peer()
  for (let i = 0; i < 600 && !peer.closed; i++) {
    const stream = 1 + 2 * i
    peer.socket.write(Buffer.concat([connect(stream, `${HERE}:${rig.ports.tcp}`), frame(RESET, 0, stream, word(8))]))
  }
  assert.equal(await codeOfGoaway(peer), CALM)
  assert.equal(rig.metrics.total('mesh_http2_floods_total', { frames: 'resets' }), 1)
  peer.close()
  await until('all is given back', () => given(rig))
})

test('a head with more than permitted is refused by itself: 431', async () => {
  await using rig = await HboneRig.open({ limits: { maxHeaderBytes: 8192 } })
  const peer = await rig.peer()
  peer.socket.write(connect(1, `${HERE}:${rig.ports.tcp}`, [['baggage', 'x'.repeat(20_000)]]))
  assert.equal(await answerOf(peer, 1), 431)
  peer.socket.write(connect(3, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 3), 200)
  peer.close()
})

test('a head that never ends is not waited for without end', async () => {
  await using rig = await HboneRig.open({ limits: { requestHeadMs: 50 } })
  const peer = await rig.peer()
  // HEADERS without END_HEADERS.
  peer.socket.write(frame(1, 0, 1, Buffer.alloc(10)))
  assert.equal(await codeOfGoaway(peer), CALM)
  peer.close()
})

test('an application that reads nothing stops its own tunnel, at the window, and no other', async () => {
  await using rig = await HboneRig.open()
  const peer = await rig.peer()
  peer.socket.write(connect(1, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 1), 200)
  await until('the application is connected', () => rig.sockets.length === 1)
  rig.sockets[0]!.pause()
  let window = 128 * 1024
  let sent = 0
  for (let turns = 0; turns < 2_000 && sent < 64 * 1024 * 1024; turns++) {
    for (const f of peer.heard.splice(0)) if (f.type === 8 && f.stream === 1) window += f.payload.readUInt32BE()
    const bytes = Math.min(window, 16_384)
    if (bytes > 0) {
      peer.socket.write(frame(0, 0, 1, Buffer.alloc(bytes)))
      window -= bytes
      sent += bytes
    }
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  assert.equal(window, 0)
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were taken`)
  assert.ok(rig.held()['mesh_stream_waiting_bytes']! >= 128 * 1024)
  // Another one is as fast as ever.
  peer.socket.write(connect(3, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 3), 200)
  await until('the other application is connected', () => rig.sockets.length === 2)
  let got = ''
  rig.sockets[1]!.on('data', (chunk) => (got += chunk.toString()))
  peer.socket.write(frame(0, 0, 3, Buffer.from('through')))
  await until('its bytes are there', () => got === 'through')
  peer.close()
  await until('all is given back', () => given(rig))
})

test('a drain says GOAWAY, lets tunnels come to their end, and cuts them after limits.drainMs', async () => {
  await using rig = await HboneRig.open({ limits: { drainMs: 300 } })
  rig.echo()
  const peer = await rig.peer()
  peer.socket.write(connect(1, `${HERE}:${rig.ports.tcp}`))
  assert.equal(await answerOf(peer, 1), 200)
  const drained = rig.path.drain()
  await peer.until((f) => f.type === GOAWAY)
  peer.socket.write(frame(0, 0, 1, Buffer.from('still')))
  assert.equal((await peer.until((f) => f.type === 0 && f.stream === 1))?.payload.toString(), 'STILL')
  assert.equal(await drained, 'forced')
  await until('the connection is over', () => peer.closed)
  await until('all is given back', () => given(rig))
})

test('a connection without tunnels ends after limits.idleMs', async () => {
  await using rig = await HboneRig.open({ limits: { idleMs: 100 } })
  const peer = await rig.peer()
  peer.socket.write(connect(1, '10.0.0.1:1'))
  assert.equal(await answerOf(peer, 1), 400)
  assert.ok(await peer.until((f) => f.type === GOAWAY))
  await until('the connection is over', () => peer.closed)
})
