/** Another root takes the place of the hub's, step by step, under running devices. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import tls from 'node:tls'
import { X509Certificate } from 'node:crypto'
import { rotateRoots, type RotationStep } from '../../../hub/enrollment/rotation.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { parseCertificates } from '../../../core/pki/x509.ts'
import { MeshError } from '../../../core/errors.ts'
import { testHub } from '../../hub/start-hub.ts'
import { until } from '../site.ts'
import { API, device, startDevice, type Device } from './device.ts'

const rootsIn = (d: Device, file: string): number =>
  parseCertificates(fs.readFileSync(`${d.state}/identity/${file}`, 'utf8')).length

/** Who signed what the server of the port shows. */
async function findIssuer(port: number): Promise<string> {
  const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { raw } = socket.getPeerCertificate(true).issuerCertificate
  socket.destroy()
  return new X509Certificate(raw).fingerprint256
}

async function start(t: TestContext) {
  const h = await testHub(t, API)
  const d = device(t, h)
  await d.join((await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-1' })).token)
  const agent = await startDevice(t, d)
  await agent.connected()
  const command = openRegistry(`${h.folder}/state/registry.db`)
  t.after(() => command[Symbol.asyncDispose]())
  const state = `${h.folder}/state`
  const files = { state, folder: `${state}/ca`, disk: systemDisk, trustDomain: 'demo.mesh' }
  /** As the command does it, in another process. @returns whose root it was about */
  const step = (name: RotationStep): Promise<string> =>
    command.exclusively(async (registry) => {
      const nowMs = Date.now()
      const done = await rotateRoots(name, { ...files, registry, nowMs })
      const note = {
        atMs: nowMs,
        actor: 'test',
        event: 'roots.changed',
        subject: name,
        address: '',
        detail: done,
      } as const
      await registry.audit.add(note)
      return done.split(' ')[0]!
    })
  /** A new certificate, as its time brings it. */
  const renew = async (): Promise<void> => {
    await agent.stop()
    fs.rmSync(`${d.state}/identity/identity.json`)
    await agent.start()
    await agent.connected()
  }
  const refuses = (name: RotationStep): Promise<void> =>
    assert.rejects(
      step(name),
      (err) => err instanceof MeshError && /^1 devices have had no certificate.*: gw-1\./.test(err.message),
    )
  return { hub: h.hub, d, agent, step, renew, refuses }
}

test('roots rotate: added, switched, dropped; no device is left behind, and who would be stops the step', async (t) => {
  const { hub, d, agent, step, renew, refuses } = await start(t)
  const first = await findIssuer(hub.port)

  const second = await step('add')
  await until('the hub trusts two', () => parseCertificates(hub.rootsPem).length === 2)
  await until('so does the agent', () => agent.lines.some((l) => l['evt'] === 'identity.roots' && l['sent'] === 2))
  assert.equal(await findIssuer(hub.port), first, 'and the first signs')
  await refuses('switch')
  await renew()
  assert.deepEqual([rootsIn(d, 'hub-roots.pem'), rootsIn(d, 'control-roots.pem')], [2, 2])

  assert.equal(await step('switch'), second)
  await until('the second signs', async () => (await findIssuer(hub.port)) === second)
  assert.equal(await findIssuer(hub.apiPort!), second)
  await agent.stop()
  await agent.start()
  await agent.connected()
  await refuses('drop')
  await renew()

  assert.equal(await step('drop'), first)
  await until('one is left', () => parseCertificates(hub.rootsPem).length === 1)
  await renew()
  assert.deepEqual([rootsIn(d, 'hub-roots.pem'), rootsIn(d, 'control-roots.pem')], [1, 1])
})
