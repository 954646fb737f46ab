/** A machine that istioctl has prepared, started with nothing but its five files: it registers itself, and is in EDS only while its workload answers. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../deploy/tools/free-ports.ts'
import { start, temporaryFolder, type Finally } from '../programs.ts'
import { App } from './app.ts'
import { Istiod } from './istiod.ts'
import { MeshAgent, NODE_IP } from './mesh-agent.ts'

const SAMPLE = path.resolve(import.meta.dirname, '../../golden/istio-folder/auto-registered')
const PROBE_PORT_OF_SAMPLE = 'port: 8080'

const resources = (port: number, probePort: number): string => `---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: gw, namespace: edge}
spec:
  metadata: {labels: {app: gw}}
  template: {serviceAccount: gateway, network: site-1}
  probe: {httpGet: {port: ${probePort}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: gw, namespace: edge}
spec:
  hosts: [gw.edge.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: ${port}, name: tcp, protocol: TCP}]
  workloadSelector: {labels: {app: gw}}
`

/** istioctl's files with the addresses of this test; what they say of the node is the sample's. */
function istioFolder(t: Finally, istiod: Istiod, probePort: number): string {
  const folder = temporaryFolder(t)
  const change = (name: string, ...changes: readonly (readonly [from: string | RegExp, to: string])[]): void => {
    let text = fs.readFileSync(path.join(SAMPLE, name), 'utf8')
    for (const [from, to] of changes) {
      assert.notEqual(text.replace(from, to), text, `${name} holds no ${from}`)
      text = text.replace(from, to)
    }
    fs.writeFileSync(path.join(folder, name), text)
  }
  const [, port = ''] = /:(\d+)$/.exec(istiod.address) ?? []
  change('cluster.env', [/ISTIO_SVC_IP='.*'/, `ISTIO_SVC_IP='${NODE_IP}'`])
  change('mesh.yaml', ['istiod.istio-system.svc:15012', `istiod.istio-system.svc:${port}`], [PROBE_PORT_OF_SAMPLE, `port: ${probePort}`], ['initialDelaySeconds: 5', 'initialDelaySeconds: 0'], ['periodSeconds: 15', 'periodSeconds: 1'], ['failureThreshold: 3', 'failureThreshold: 1'])
  change('hosts', ['203.0.113.7', '127.0.0.1'])
  fs.writeFileSync(path.join(folder, 'root-cert.pem'), istiod.ca.rootPem)
  fs.writeFileSync(path.join(folder, 'istio-token'), istiod.token({ namespace: 'edge', serviceAccount: 'gateway' }))
  return folder
}

test('meshlet run --istio', { timeout: 120_000 }, async (t) => {
  const [port, proxyPort] = (await freePorts(2)) as [number, number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const istiod = await Istiod.create(t, { store: 'kube' })
  istiod.write('gw', resources(port, app.port))
  await istiod.start()
  // Somebody else of the mesh, to see what istiod makes of the node.
  const cloud = await MeshAgent.create(t, istiod, { name: 'cloud-1', namespace: 'shop', serviceAccount: 'client', app: 'cloud', ip: '127.0.0.8', node: ['network: site-1'] })
  await cloud.start()
  const seenByCloud = async (): Promise<number> => (((await cloud.agent.get('/clusters'))?.text ?? '').match(new RegExp(`^outbound\\|${port}\\|\\|gw\\.edge\\.svc\\.cluster\\.local::${NODE_IP}:${port}::health_flags::healthy$`, 'gm')) ?? []).length

  const edge = await MeshAgent.create(t, istiod)
  const folder = istioFolder(t, istiod, app.port)
  fs.writeFileSync(edge.agent.configFile, `state: ${edge.stateFolder}\nadmin: {port: ${edge.agent.adminPort}}\nlisteners: [{name: http-proxy, kind: http_proxy, port: ${proxyPort}}]\n`)
  edge.agent.process = start(t, process.execPath, [path.join(edge.agent.bundleFolder, 'meshlet.cjs'), 'run', '--istio', folder, '--config', edge.agent.configFile], { cwd: edge.agent.bundleFolder })

  await t.test('it enrols and is configured', async () => {
    const { certificate, problems } = await edge.status('the configuration is confirmed', (s) => s.control.link === 'connected' && s.state === 'ready' && !s.config.stale)
    assert.equal(certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
    assert.deepEqual(problems, [])
  })
  await t.test('its entry waits for word of its health, which comes', async () => {
    const entry = await istiod.until('the condition is there', async () => (await istiod.objects('WorkloadEntry')).find((e) => JSON.stringify(e.Status).includes('Healthy')))
    assert.equal(entry.name, `gw-${NODE_IP}-site-1`)
    assert.equal(entry.annotations?.['proxy.istio.io/health-checks-enabled'], 'true')
    await istiod.until('others see it', async () => (await seenByCloud()) === 1)
  })
  await t.test('a workload that does not answer is out of EDS, and comes back', async () => {
    app.behaviour = (_, res) => { res.writeHead(503).end(); return true }
    await istiod.until('gone for others', async () => (await seenByCloud()) === 0, 30_000)
    const { workload, problems } = await edge.status('unhealthy', (s) => s.workload?.state === 'unhealthy')
    assert.deepEqual([workload?.reason, workload?.told, problems.map((p) => p.code)], ['the status is 503', true, ['MESH_PROBE_FAILED']])
    app.behaviour = () => false
    await istiod.until('back for others', async () => (await seenByCloud()) === 1, 30_000)
  })
  await t.test('a new stream is told anew', async () => {
    await istiod.restart()
    await istiod.until('back for others', async () => (await seenByCloud()) === 1 && (await istiod.objects('WorkloadEntry')).some((e) => JSON.stringify(e.Status).includes('Healthy')), 60_000)
  })
})
