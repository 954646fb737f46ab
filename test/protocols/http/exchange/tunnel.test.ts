/** How a tunnel ends, and what it says of it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { MeshError } from '../../../../core/errors.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { Tunnel } from '../../../../protocols/http/exchange/tunnel.ts'
import { Waiting } from '../../../../protocols/waiting.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'

function rig(early: { client?: string; server?: string } = {}) {
  const [client, near] = duplexPair()
  const [far, server] = duplexPair()
  for (const s of [client, server]) s.on('error', () => {})
  const clock = new SimClock()
  const ends: (string | undefined)[] = []
  const bytes = { client: 0, server: 0 }
  const rest = (text: string | undefined): Buffer | undefined => (text === undefined ? undefined : Buffer.from(text))
  const tunnel = new Tunnel(
    { stream: near, rest: rest(early.client) },
    { stream: far, rest: rest(early.server) },
    {
      clock,
      waiting: new Waiting({ clock, metrics: new Metrics() }),
      client: '10.0.0.2',
      maxBufferBytes: 65_536,
      idleMs: 1000,
      onClientBytes: (n) => {
        bytes.client += n
      },
      onServerBytes: (n) => {
        bytes.server += n
      },
      onEnd: (error) => {
        ends.push(error?.code)
      },
    },
  )
  return { tunnel, client, server, near, far, clock, ends, bytes }
}
const collect = (s: Duplex): string[] => {
  const got: string[] = []
  s.on('data', (chunk: Buffer) => got.push(chunk.toString()))
  return got
}

test('what came with the heads goes first', async () => {
  const r = rig({ client: 'early ', server: '' })
  const [there, back] = [collect(r.server), collect(r.client)]
  r.client.write('late')
  r.server.write('answer')
  await settle()
  await settle()
  assert.equal(there.join(''), 'early late')
  assert.equal(back.join(''), 'answer')
  assert.deepEqual(r.bytes, { client: 10, server: 6 })
})

const moments: Promise<void>[] = []
for (const { name, end, code } of [
  {
    name: 'both sides end in order',
    end: (r: ReturnType<typeof rig>) => {
      r.client.resume().end()
      r.server.resume().end()
    },
    code: undefined,
  },
  { name: 'the client breaks it off', end: (r: ReturnType<typeof rig>) => r.near.destroy(), code: 'MESH_CLIENT_GONE' },
  {
    name: 'the endpoint breaks it off',
    end: (r: ReturnType<typeof rig>) => r.far.destroy(),
    code: 'MESH_UPSTREAM_RESET',
  },
  {
    name: 'nothing moves',
    end: (r: ReturnType<typeof rig>) => {
      moments.push(r.clock.advance(1000))
    },
    code: 'MESH_IDLE_TIMEOUT',
  },
  {
    name: 'it is cut off, and the first reason counts',
    end: (r: ReturnType<typeof rig>) => {
      r.tunnel.abort(new MeshError('MESH_DRAINING', 'x'))
      r.tunnel.abort(new MeshError('MESH_PEER_NOT_ALLOWED', 'x'))
    },
    code: 'MESH_DRAINING',
  },
])
  test(`${name}: ${code ?? 'no error'}, told once, and the endpoint's side is closed`, async () => {
    const r = rig()
    end(r)
    await Promise.all(moments.splice(0))
    for (let i = 0; i < 4; i++) await settle()
    assert.deepEqual(r.ends, [code])
    assert.equal(r.far.destroyed, true)
  })
