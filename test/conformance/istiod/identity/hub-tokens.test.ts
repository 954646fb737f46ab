/**
 * A device that has joined a hub lives in a real istiod's mesh: the hub's tokens open istiod's CA for its key, and its
 * configuration comes from istiod under the name that it has there.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { testHub } from '../../../hub/start-hub.ts'
import { Agent } from '../../package/shipped.ts'
import { temporaryFolder } from '../../programs.ts'
import { Istiod, ISTIOD_NAME } from '../rig/istiod.ts'
import { MeshCa } from '../rig/trust.ts'

test('a device of a hub has its certificate and its configuration from an istiod', { timeout: 180_000 }, async (t) => {
  const [apiPort] = (await freePorts(1)) as [number]
  const [ca, folder] = [new MeshCa(), temporaryFolder(t)]
  const issuer = `https://127.0.0.1:${apiPort}`
  const [hubRoots, istiodRoots] = [path.join(folder, 'hub.pem'), path.join(folder, 'istiod.pem')]
  // The hub is first: istiod reads its discovery document when it starts, over a TLS that it must trust.
  const istiod = await Istiod.create(t, {
    ca,
    env: { JWT_RULE: JSON.stringify({ issuer, audiences: ['istio-ca'] }), SSL_CERT_FILE: hubRoots },
  })
  fs.writeFileSync(istiodRoots, ca.rootPem)
  const { hub } = await testHub(
    t,
    `dnsNames: [127.0.0.1]
api: {listen: "127.0.0.1:${apiPort}"}
istiod: {address: "${istiod.address}", serverName: ${ISTIOD_NAME}, roots: ${istiodRoots}, issuer: "${issuer}"}
`,
  )
  fs.writeFileSync(hubRoots, hub.rootsPem)
  await istiod.start()

  const agent = await Agent.create(
    t,
    (own, adminPort) => `state: ${own}/state\nadmin: {port: ${adminPort}}\nnode: {ip: 127.0.0.9}\n`,
  )
  const { token } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-1', maxUses: 1 })
  const joined = await agent.cli(['join', issuer, '--token', '-', '-c', agent.configFile], { input: token })
  assert.equal(joined.code, 0, joined.err)
  assert.match(joined.out, /joined as gw-1, edge\/gateway; the certificate comes from the control plane/)
  await agent.start()

  const file = path.join(agent.folder, 'state/identity/identity.json')
  const { chainPem } = JSON.parse(fs.readFileSync(file, 'utf8')) as { chainPem: string }
  const leaf = new X509Certificate(chainPem)
  assert.equal(leaf.subjectAltName, 'URI:spiffe://cluster.local/ns/edge/sa/gateway')
  assert.ok(leaf.checkIssued(new X509Certificate(ca.intermediatePem)), "of istiod's CA, not of the hub's")
  const nodes = (await istiod.syncz()).map(({ proxy }) => proxy)
  assert.deepEqual(nodes, ['gw-1.edge'], 'istiod knows it by the name that the hub gave')

  await agent.process.stop('SIGKILL')
  await hub.registry.enrollments.revoke('gw-1', Date.now())
  fs.rmSync(file)
  agent.launch()
  const problems = async (): Promise<string> => JSON.stringify((await agent.status())?.problems ?? [])
  await agent.process.until('refused', async () => (await problems()).includes('MESH_DEVICE_REVOKED'))
})
