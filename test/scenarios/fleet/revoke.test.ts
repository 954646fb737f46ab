/** A stolen box: thrown out by its name, it has no stream, no certificate, and no peer in the mesh. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import tls from 'node:tls'
import { approveDevice, revokeDevice } from '../../../hub/enrollment/operator.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { testHub } from '../../hub/start-hub.ts'
import { until } from '../site.ts'
import { API, device, startDevice, type Device } from './device.ts'

const edge = (nodes: string) => ({ namespace: 'edge', serviceAccount: 'gateway', nodes })
/** MQTT 3.1.1 §3.1: CONNECT of client `x`, clean session. */
const CONNECT = Buffer.from([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 1, 0x78])

/** A TLS connection with the device's certificate. @returns after the answer to CONNECT; undefined: it was closed */
async function connect(d: Device, port: number): Promise<tls.TLSSocket | undefined> {
  const { keyPem, chainPem } = JSON.parse(fs.readFileSync(`${d.state}/identity/identity.json`, 'utf8')) as Record<
    string,
    string
  >
  const socket = tls.connect({ host: '127.0.0.1', port, key: keyPem, cert: chainPem, rejectUnauthorized: false })
  socket.on('error', () => {})
  socket.write(CONNECT)
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  return socket.destroyed || socket.readableEnded ? undefined : socket
}

test('revoked by name, by another process: stream and connections end, new ones are refused, the key opens nothing; approved it is back', async (t) => {
  const h = await testHub(t, API)
  const [stolen, peer] = [device(t, h), device(t, h)]
  await stolen.join((await h.hub.createToken(edge('gw-1'))).token)
  await peer.join((await h.hub.createToken(edge('gw-2'))).token)
  fs.appendFileSync(peer.file, 'listeners:\n- {name: mqtts, kind: mqtt, port: 0, tls: {mode: mutual}}\nmqtt: {}\n')
  const [bad, good] = [await startDevice(t, stolen), await startDevice(t, peer)]
  await Promise.all([bad.connected(), good.connected()])
  const port = good.port('mqtts')
  const open = (await connect(stolen, port))!
  assert.ok(open, 'before')
  open.resume()
  const closed = once(open, 'close')

  const command = openRegistry(`${h.folder}/state/registry.db`)
  t.after(() => command[Symbol.asyncDispose]())
  assert.equal(await revokeDevice(command, 'gw-1', Date.now()), 1)
  await until('its stream has ended', () => h.lines.find((l) => l['evt'] === 'hub.stream-end' && l['node'] === 'gw-1'))
  await closed
  assert.equal(await connect(stolen, port), undefined, 'a new handshake')
  await until('it knows why', () => bad.problems().includes('MESH_DEVICE_REVOKED'))
  await good.connected()
  assert.ok(good.lines.some((l) => l['evt'] === 'identity.revoked'))

  // A restart without the hub knows it still: it is part of the stored configuration.
  await good.stop()
  await good.start()
  assert.equal(await connect(stolen, good.port('mqtts')), undefined)

  await approveDevice(command, 'gw-1', Date.now())
  await bad.connected()
})
