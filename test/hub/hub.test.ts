/** Whose folder is whose: a device gets the resources of the node that its join token names, and nobody else's. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { status } from '@grpc/grpc-js'
import { startHub } from '../../hub/hub.ts'
import { parseHubConfig } from '../../hub/config.ts'
import { silentLog } from '../../core/log.ts'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { CLUSTER } from '../../hub/source/resources.ts'
import { bearer, certify, DeltaStream, join, testHub, type TestHub } from './start-hub.ts'
import { makeCsr } from './ca/make-csr.ts'

const cluster = (name: string): string =>
  `resources:\n- {"@type": "${CLUSTER}", name: ${name}, type: STATIC, connect_timeout: 2s}\n`
const edge = (nodes: string) => ({ namespace: 'edge', serviceAccount: 'gateway', nodes })
const as = (h: TestHub, who: Parameters<TestHub['client']>[0], name: string): DeltaStream => {
  const stream = new DeltaStream(h.client(who))
  stream.ask({
    node: { id: `sidecar~10.0.0.1~${name}.edge~edge.svc.cluster.local`, metadata: { NAME: name } },
    typeUrl: CLUSTER,
  })
  return stream
}

test('a guest of the same service account gets neither the folder of another node nor its name', async (t) => {
  const h = await testHub(t)
  h.write('gw-1/own.yaml', cluster('secret'))
  await h.taken()
  const guest = await join(h, (await h.hub.createToken(edge('guest'))).token)
  const err = await as(h, guest, 'gw-1').error()
  assert.equal(status[err.code], 'PERMISSION_DENIED')
  assert.match(
    err.details,
    /the node name gw-1 is not one that the join token is for \(guest\).*token create --name gw-1/,
  )
  const owner = await join(h, (await h.hub.createToken(edge('gw-1'))).token)
  assert.deepEqual(
    (await as(h, owner, 'gw-1').next()).resources.map((r) => r.name),
    ['secret'],
    'the owner, who came second, is not locked out',
  )
})

test('of a pattern each device has one name; a renewal is the same device', async (t) => {
  const h = await testHub(t)
  const { token } = await h.hub.createToken(edge('gw-*'))
  const [one, two] = [await join(h, token), await join(h, token)]
  await as(h, one, 'gw-1').next()
  assert.match((await as(h, two, 'gw-1').error()).details, /another device of this identity/)
  await as(h, two, 'gw-2').next()
  assert.match((await as(h, two, 'gw-3').error()).details, /another than gw-2/)
  const csr = makeCsr()
  const { certChain } = await certify(h.client(one), bearer(), { csr: csr.csrPem })
  await as(h, { keyPem: csr.keyPem, chainPem: certChain[0]! }, 'gw-1').next()
  assert.deepEqual(
    (await h.hub.registry.devices()).map((d) => d.name),
    ['gw-1', 'gw-2'],
  )
})

test('a hub whose registry was lost lets no certificate in, revoked or not; with its backup it goes on', async (t) => {
  const h = await testHub(t)
  const shown = await join(h, (await h.hub.createToken(edge('gw-1'))).token)
  await as(h, shown, 'gw-1').next()
  await h.hub.registry.copyTo(`${h.folder}/registry.copy`)
  await h.hub[Symbol.asyncDispose]()
  const again = async (): Promise<TestHub> => {
    const config = parseHubConfig(
      `listen: 127.0.0.1:0\nresources: ${h.folder}/resources\nstate: ${h.folder}/state\ntrustDomain: demo.mesh\ndnsNames: [hub.demo.mesh]\nadmin: {port: 0}\n`,
    )
    const hub = await startHub(
      config,
      { clock: systemClock, random: systemRandom, disk: systemDisk },
      { log: silentLog },
    )
    t.after(() => hub[Symbol.asyncDispose]())
    return { ...h, hub, client: (who) => h.client(who, hub.port) }
  }
  for (const file of fs.readdirSync(`${h.folder}/state`))
    if (file.startsWith('registry.db')) fs.rmSync(`${h.folder}/state/${file}`)
  const lost = await again()
  assert.match((await as(lost, shown, 'gw-1').error()).details, /does not stand in the registry of this hub/)
  await lost.hub[Symbol.asyncDispose]()
  for (const file of fs.readdirSync(`${h.folder}/state`))
    if (file.startsWith('registry.db')) fs.rmSync(`${h.folder}/state/${file}`)
  fs.renameSync(`${h.folder}/registry.copy`, `${h.folder}/state/registry.db`)
  await as(await again(), shown, 'gw-1').next()
})

test('devices: connected, configuration in force and what was refused, as the running hub sees it', async (t) => {
  const h = await testHub(t)
  h.write('gw-1/own.yaml', cluster('a'))
  await h.taken()
  const shown = await join(h, (await h.hub.createToken(edge('gw-1'))).token)
  const stream = as(h, shown, 'gw-1')
  const first = await stream.next()
  const device = async (
    is: (d: Awaited<ReturnType<typeof h.hub.registry.devices>>[number]) => boolean,
  ): Promise<void> => {
    while (!is((await h.hub.registry.devices())[0]!))
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
  }
  await device((d) => d.connectedMs !== null && d.inForce === null)
  stream.ask({ typeUrl: CLUSTER, responseNonce: first.nonce })
  await device((d) => d.inForce === first.systemVersionInfo && d.serial !== null)
  h.write('gw-1/own.yaml', cluster('b'))
  const second = await stream.next()
  stream.ask({ typeUrl: CLUSTER, responseNonce: second.nonce, errorDetail: { code: 13, message: 'no' } })
  await device((d) => d.refused === 'no' && d.inForce === first.systemVersionInfo)
  stream.cancel()
  await device((d) => d.connectedMs === null)
})

test('the admin port has the metrics, for loopback names only, and changes nothing', async (t) => {
  const h = await testHub(t)
  const at = `http://127.0.0.1:${h.hub.adminPort}`
  assert.match(await (await fetch(`${at}/metrics`)).text(), /^mesh_hub_connections\{port="grpc"\} 0$/m)
  assert.equal((await fetch(`${at}/ready`)).status, 200)
  assert.equal((await fetch(`${at}//`)).status, 404)
  assert.equal((await fetch(`${at}/ready`, { method: 'POST' })).status, 405)
})
