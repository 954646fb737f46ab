/** Configuration over the relay of a real hub. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { RawResource } from '../../../model/snapshot.ts'
import type { ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import { RelayTransport, type RelayTransportOptions } from '../../../control-sync/fleet/relay-transport.ts'
import type { SyncedAgent } from '../../helpers/control-plane/synced-agent.ts'
import { passage } from './passage.ts'
import { answers, fleet, keyed, leave, services, until, whole } from '../../hub/relay/rig.ts'

/** RFC 8446 §6.1, as a record. */
const CLOSE_NOTIFY_BYTES = 24
const changedOne = (i: number): number => (i === 57 ? 2 : 1)
/** Endpoints whose bytes hold a text. */
function has({ applier }: SyncedAgent, text: string, count: number): boolean {
  const all = [...applier.snapshot.resources.endpoint.values()]
  return all.filter(({ value }) => Buffer.from(value).includes(text)).length === count
}
const ENDPOINT = 'outbound|80||svc-57.shop.svc.cluster.local'

test('a hundred services: the same again costs 2 KB at most, a changed line 1 KB', async (t) => {
  const f = await fleet(t, services(100))
  const first = f.agent()
  await whole(first, 100)
  assert.equal(first.names('cluster').length, 100)
  t.diagnostic(`first: ${JSON.stringify(f.bytes)}`)
  await leave(f, first)
  const before = { ...f.bytes }
  const acked = answers(f.h, 'ack')
  const second = f.agent(first)
  await until(() => answers(f.h, 'ack') >= acked + 4, 'clusters, endpoints, listeners, routes are acknowledged')
  const again = { sent: f.bytes.sent - before.sent, received: f.bytes.received - before.received }
  t.diagnostic(`again: ${JSON.stringify(again)}`)
  assert.ok(again.sent + again.received <= 2_048)
  const quiet = { ...f.bytes }
  f.h.write('mesh.json', services(100, changedOne))
  const version = (): string => second.applier.snapshot.resources.endpoint.get(ENDPOINT)!.version
  const old = version()
  await until(() => version() !== old, 'the change is in force')
  await until(() => f.bytes.sent > quiet.sent, 'the change is answered')
  const changed = f.bytes.sent + f.bytes.received - quiet.sent - quiet.received
  t.diagnostic(`changed: ${changed}`)
  assert.ok(changed <= 1_024)
})

test('by its key a device pays 2 KB at most for a reconnect on the wire, TLS and all', async (t) => {
  const f = await fleet(t, services(100))
  const { port, state } = await passage(t, f.h.hub.relayPort!)
  const device = await keyed(f.h, 'gw-1')
  const wire = { sent: 0, received: 0 }
  const count: ControlPlane['wire'] = (direction, bytes) => {
    wire[direction] += bytes
  }
  const link = f.link({ addresses: [`wss://127.0.0.1:${port}`], wire: count }, undefined, device)
  const first = f.agent(undefined, undefined, link)
  await whole(first, 100)
  t.diagnostic(`first, on the wire: ${state.bytes}`)
  await leave(f, first)
  const [before, acked] = [state.bytes, answers(f.h, 'ack')]
  const second = f.agent(first, undefined, link)
  await until(() => answers(f.h, 'ack') >= acked + 4, 'everything is acknowledged')
  const again = state.bytes - before
  t.diagnostic(`again, on the wire: ${again}`)
  assert.ok(again <= 2_048, `${again}`)
  const [quiet, old] = [state.bytes, second.applier.snapshot.resources.endpoint.get(ENDPOINT)!.version]
  f.h.write('mesh.json', services(100, changedOne))
  await until(() => second.applier.snapshot.resources.endpoint.get(ENDPOINT)!.version !== old, 'the change is in force')
  await until(() => answers(f.h, 'ack') >= acked + 5, 'the change is answered')
  t.diagnostic(`changed, on the wire: ${state.bytes - quiet}`)
  assert.ok(state.bytes - quiet <= 1_024)
  link.readWire()
  // A connection that ends may say so to nobody.
  const unheard = wire.sent + wire.received - state.bytes
  assert.ok(unheard >= 0 && unheard <= 2 * CLOSE_NOTIFY_BYTES, `${unheard}`)
})

test('what changed while the device was away comes as a difference, too', async (t) => {
  const f = await fleet(t, services(100))
  const first = f.agent()
  await whole(first, 100)
  await leave(f, first)
  const watching = f.agent(first)
  f.h.write('mesh.json', services(100, changedOne))
  const version = (agent: typeof first): string => agent.applier.snapshot.resources.endpoint.get(ENDPOINT)!.version
  await until(() => version(watching) !== version(first), 'the hub has the change')
  await leave(f, watching)
  const before = { ...f.bytes }
  const second = f.agent(first)
  await until(() => version(second) === version(watching), 'the change is in force')
  assert.ok(f.bytes.received - before.received + f.bytes.sent - before.sent <= 2_048)
})

test('a device with what no other has says it in full, and gets no resource twice', async (t) => {
  const f = await fleet(t, services(20))
  const first = f.agent()
  await whole(first, 20)
  await leave(f, first)
  const { metrics } = f.h
  const sent = metrics.counter('mesh_hub_relay_sent_bytes_total', '').cell({})
  // What it has is no set that the hub ever sent.
  const odd = first.applier.snapshot.resources.endpoint as Map<string, RawResource>
  const [name, had] = [...odd][0]!
  odd.set(name, { name, version: 'another', value: had.value })
  const [before, acked] = [sent.value, answers(f.h, 'ack')]
  f.agent(first)
  await until(() => answers(f.h, 'ack') >= acked + 4, 'everything is acknowledged')
  assert.ok(sent.value - before < 600, `${sent.value - before}`)
})

test('a difference to what is not here is asked for anew, whole', async (t) => {
  const f = await fleet(t, services(20))
  const first = f.agent()
  await whole(first, 20)
  // Of the version that the hub knows, and something else.
  const odd = first.applier.snapshot.resources.endpoint as Map<string, RawResource>
  for (const [name, { version }] of odd) odd.set(name, { name, version, value: Buffer.from('lost') })
  f.h.write(
    'mesh.json',
    services(20, () => 9),
  )
  await until(() => first.sync.link.state === 'waiting', 'the stream is given up')
  assert.equal(first.sync.link.error?.code, 'MESH_CONTROL_PROTOCOL')
  await until(() => {
    void first.clock.advance(100)
    return has(first, '.9', 20)
  }, 'whole resources come')
})

test('while what came is not in force the relay gives room for no more than its window', async () => {
  const told: string[] = []
  const stream = {
    listen: () => undefined,
    pause: () => void told.push('pause'),
    resume: () => void told.push('resume'),
  }
  const connection = { mux: { open: () => stream } }
  const link = { connect: async () => connection } as unknown as RelayTransportOptions['link']
  const options = { link, control: {}, node: {}, stored: () => undefined, onCertificateRefused: () => undefined }
  const transport = new RelayTransport(options as unknown as RelayTransportOptions)
  const opened = await transport.open({ onResponse: () => undefined, onEnd: () => undefined })
  opened.pause!()
  opened.resume!()
  assert.deepEqual(told, ['pause', 'resume'])
})
