/**
 * The root of the mesh rotates in two steps while two agents speak mutual TLS with a new connection for every request:
 * none fails.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App } from '../rig/app.ts'
import { ingressYaml, peerAuthentication } from '../rig/inbound.ts'
import { Istiod } from '../rig/istiod.ts'
import { Load } from '../rig/load.ts'
import { CLOUD, MeshAgent } from '../rig/mesh-agent.ts'
import { MeshCa } from '../rig/trust.ts'

/** Renewed half a minute after it was issued. */
const TTL_SEC = 60

const oneRequestPerConnection = `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: edge, namespace: edge}
spec: {host: edge.edge.svc.cluster.local, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
`

type Stored = { readonly chainPem: string; readonly rootsPem: string }
const stored = (agent: MeshAgent): Stored =>
  JSON.parse(fs.readFileSync(path.join(agent.stateFolder, 'identity/identity.json'), 'utf8')) as Stored
const certificates = (pem: string): string[] =>
  (pem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g) ?? []).map((c) => new X509Certificate(c).fingerprint256)

async function startRig(t: TestContext) {
  const [port] = (await freePorts(1)) as [number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const istiod = await Istiod.create(t)
  const [old, next] = [istiod.ca, new MeshCa()]
  const both = old.rootPem + next.rootPem
  istiod.write(
    'edge',
    ingressYaml({ http: { port, protocol: 'HTTP', to: app.port } }, '~/*') +
      peerAuthentication('STRICT') +
      oneRequestPerConnection,
  )
  await istiod.start()
  const control = [`certificateTtlSec: ${TTL_SEC}`]
  const edge = await MeshAgent.create(t, istiod, { control })
  const cloud = await MeshAgent.create(t, istiod, { ...CLOUD, control })
  const agents = [edge, cloud]
  for (const agent of agents) await agent.start()
  const url = `http://edge.edge.svc.cluster.local:${port}/`
  await cloud.until(url, (a) => a.body === 'app')
  const load = new Load({ port: cloud.proxyPort, path: url, host: `edge.edge.svc.cluster.local:${port}`, workers: 2 })
  /** A new istiod with other cacerts, as an operator rolls it out. */
  const rollOut = async (ca: MeshCa, roots: string): Promise<void> => {
    istiod.ca = ca
    ca.writeTo(istiod.certificatesFolder, roots)
    await istiod.restart('SIGTERM')
  }
  return { agents, old, next, both, load, rollOut }
}

test('root rotation in two steps', { timeout: 240_000 }, async (t) => {
  const { agents, old, next, both, load, rollOut } = await startRig(t)
  const renewed = (what: string, holds: (s: Stored) => boolean): Promise<unknown> =>
    Promise.all(agents.map((a) => a.agent.process.until(what, () => holds(stored(a)), 60_000)))
  const rootsOf = (s: Stored): string => certificates(s.rootsPem).sort().join()

  await t.test('first both roots are trusted, the old one signs', async () => {
    for (const agent of agents) agent.roots(both)
    await rollOut(old, both)
    await renewed('both roots are known', (s) => rootsOf(s) === certificates(both).sort().join())
    for (const agent of agents)
      assert.ok(certificates(stored(agent).chainPem).includes(certificates(old.intermediatePem)[0]!))
  })
  await t.test('then the new one signs: agents with certificates of either understand each other', async () => {
    await rollOut(next, both)
    await renewed('the new root has signed', (s) =>
      certificates(s.chainPem).includes(certificates(next.intermediatePem)[0]!),
    )
  })
  await t.test('then the old root goes', async () => {
    for (const agent of agents) agent.roots(next.rootPem)
    await rollOut(next, next.rootPem)
    await renewed('only the new root is known', (s) => rootsOf(s) === certificates(next.rootPem).join())
    for (const agent of agents)
      await agent.status('connected', (s) => s.control.link === 'connected' && s.problems.length === 0, 60_000)
  })
  await load.stop()
  assert.deepEqual(load.failed, [])
  t.diagnostic(`${load.answered} requests, each with a handshake of its own`)
})
