import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { test } from 'node:test'
import { makeMuxPair } from './mux-pair.ts'
import { joinTunnel, type TunnelEnd } from '../../../core/relay/tunnel.ts'
import { MeshError } from '../../../core/errors.ts'

/** A tunnel whose two ends are the far sides of two sockets. */
function rig() {
  const [near, own] = duplexPair()
  const [far, other] = duplexPair()
  /** Of the side that asks, then of the other once it has come. */
  const ends: Promise<TunnelEnd>[] = []
  const late = Promise.withResolvers<TunnelEnd>()
  const { agent, hub } = makeMuxPair({
    maxMessageBytes: 1_000_000,
    maxStreams: 4,
    onStream: (stream) => {
      late.resolve(joinTunnel(stream, other, 'hub'))
    },
  })
  const stream = hub.open('tunnel')
  ends.push(joinTunnel(stream, own, 'hub'), late.promise)
  return { near, own, far, other, ends, stream, agent }
}
function readAll(socket: Duplex): Promise<Buffer> {
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  return new Promise((resolve) => {
    socket.once('end', () => resolve(Buffer.concat(parts)))
  })
}

test('each direction goes on after the other has ended, and both are counted', async () => {
  const { near, far, ends, agent } = rig()
  near.end('question')
  assert.equal((await readAll(far)).toString(), 'question')
  far.end(Buffer.alloc(1_000_000, 7))
  assert.equal((await readAll(near)).length, 1_000_000)
  const [a, b] = await Promise.all(ends)
  assert.deepEqual([a!.sent, a!.received, a!.reason], [8, 1_000_000, undefined])
  assert.deepEqual([b!.sent, b!.received], [1_000_000, 8])
  assert.equal(agent.openStreams, 0)
})

test('who does not read holds the other up, within the windows', async () => {
  const { near, far } = rig()
  let written = 0
  for (let i = 0; i < 500 && near.write(Buffer.alloc(65_536)); i++) {
    written++
    await new Promise((done) => {
      setImmediate(done)
    })
  }
  assert.ok(written < 100, `${written} pieces of 64 KiB went out`)
  far.resume()
  near.end()
  await new Promise((done) => {
    far.once('end', done)
  })
})

test('a socket that breaks ends both, and so does the connection', async () => {
  const one = rig()
  one.near.write('x')
  await new Promise((done) => {
    one.far.once('data', done)
  })
  one.own.destroy(new Error('cable'))
  const codes = (await Promise.all(one.ends)).map(({ reason }) => reason?.code)
  assert.deepEqual(codes, ['MESH_CONTROL_UNREACHABLE', 'MESH_CONTROL_UNREACHABLE'])
  const two = rig()
  two.near.write('x')
  await new Promise((done) => {
    two.far.once('data', done)
  })
  two.agent.end(new MeshError('MESH_CONTROL_TIMEOUT', 'gone'))
  assert.equal((await two.ends[1]!).reason?.code, 'MESH_CONTROL_TIMEOUT')
  assert.equal(two.other.destroyed, true)
})

test('a stream that is over already ends the socket', async () => {
  const { stream, agent } = rig()
  stream.abort(new MeshError('MESH_DRAINING', 'over'))
  const [, own] = duplexPair()
  assert.equal((await joinTunnel(stream, own, 'hub')).reason?.code, 'MESH_CONTROL_UNREACHABLE')
  assert.equal(own.destroyed, true)
  assert.ok(agent.openStreams <= 1)
})
