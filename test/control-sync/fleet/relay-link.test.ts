/** One connection to the hub: the way there, its silence, its end. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { RelayLink, refuseStream } from '../../../control-sync/fleet/relay-link.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { fleet, keyed, until } from '../../hub/relay/rig.ts'
import { passage } from './passage.ts'

const CONNECT = { certificateRefused: false }

test('what answers and is no hub is told', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const addresses = [`wss://127.0.0.1:${f.h.hub.relayPort}/elsewhere`]
  await assert.rejects(f.link({ addresses }).connect(CONNECT), { code: 'MESH_CONTROL_UNIMPLEMENTED' })
  const grpc = [`wss://127.0.0.1:${f.h.hub.port}`]
  await assert.rejects(f.link({ addresses: grpc }).connect(CONNECT), { code: /^MESH_CONTROL_/ })
})

test('addresses are tried in turn', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const [good] = f.control.addresses
  const link = f.link({ addresses: ['wss://127.0.0.1:1', good!] })
  await assert.rejects(link.connect(CONNECT), { code: 'MESH_CONTROL_UNREACHABLE' })
  await link.connect(CONNECT)
  assert.equal(link.address, good)
  link.closeIfUnusedSoon()
})

test('a silent connection is asked less and less often whether it lives, until one is lost', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const { state, port } = await passage(t, f.h.hub.relayPort!)
  const clock = new SimClock()
  const control = { ...f.control, addresses: [`wss://127.0.0.1:${port}`] }
  const link = new RelayLink({ control, identity: () => f.identity, clock, onStream: refuseStream })
  const { mux } = await link.connect(CONNECT)
  const reasons: string[] = []
  mux.open('configuration').listen({ onMessage: () => undefined, onReset: ({ code }) => reasons.push(code) })
  // Each answered ping takes real time, so the simulated one goes in steps.
  for (let i = 0; i < 200; i++) {
    await clock.advance(1_000)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  assert.deepEqual(reasons, [])
  state.isDeaf = true
  for (let i = 0; i < 400 && reasons.length === 0; i++) await clock.advance(1_000)
  assert.deepEqual(reasons, ['MESH_CONTROL_TIMEOUT'])
  state.isDeaf = false
  await link.connect(CONNECT)
  assert.equal(state.connections, 2)
  link.closeIfUnusedSoon()
})

test('a connection that nobody uses is closed, and the next use opens another', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const link = f.link()
  const { mux } = await link.connect(CONNECT)
  assert.equal((await link.connect(CONNECT)).mux, mux, 'one connection for all')
  link.closeIfUnusedSoon()
  await until(() => f.h.metrics.text().includes('mesh_hub_relay_sessions 0'), 'closed')
  assert.notEqual((await link.connect(CONNECT)).mux, mux)
  link.closeIfUnusedSoon()
})

test('a connection that the key does not sign for is closed', async (t) => {
  const f = await fleet(t, '{"resources": []}', 'limits: {strangerMs: 60000}\n')
  const device = await keyed(f.h)
  const refuse = async (): Promise<Buffer> => {
    throw new MeshError('MESH_STATE_UNUSABLE', 'the TPM is gone')
  }
  const link = f.link({}, undefined, { ...device, findKey: async () => ({ ...device.key, sign: refuse }) })
  await assert.rejects(link.connect(CONNECT), { code: 'MESH_STATE_UNUSABLE' })
  await until(() => f.h.metrics.text().includes('mesh_hub_connections{port="relay"} 0'), 'it is closed')
})
