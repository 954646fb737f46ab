/**
 * A machine that istioctl has prepared, started with nothing but its five files: it registers itself, and istiod hears
 * how its workload is.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { start, temporaryFolder, type Finally } from '../../programs.ts'
import { App } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent, NODE_IP } from '../rig/mesh-agent.ts'

const SAMPLE = path.resolve(import.meta.dirname, '../../../golden/istio-folder/auto-registered')
type Condition = { readonly type: string; readonly status: string; readonly message?: string }

const PROBE_PORT_OF_SAMPLE = 'port: 8080'

const GROUP = `---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: gw, namespace: edge}
spec:
  metadata: {labels: {app: gw}}
  template: {serviceAccount: gateway, network: site-1}
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
  change(
    'mesh.yaml',
    ['istiod.istio-system.svc:15012', `istiod.istio-system.svc:${port}`],
    [PROBE_PORT_OF_SAMPLE, `port: ${probePort}`],
    ['initialDelaySeconds: 5', 'initialDelaySeconds: 0'],
    ['periodSeconds: 15', 'periodSeconds: 1'],
    ['failureThreshold: 3', 'failureThreshold: 1'],
  )
  change('hosts', ['203.0.113.7', '127.0.0.1'])
  fs.writeFileSync(path.join(folder, 'root-cert.pem'), istiod.ca.rootPem)
  fs.writeFileSync(path.join(folder, 'istio-token'), istiod.token({ namespace: 'edge', serviceAccount: 'gateway' }))
  return folder
}

async function startRig(t: TestContext) {
  const [proxyPort] = (await freePorts(1)) as [number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const istiod = await Istiod.create(t, { store: 'kube' })
  istiod.write('gw', GROUP)
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  const folder = istioFolder(t, istiod, app.port)
  fs.writeFileSync(
    edge.agent.configFile,
    `state: ${edge.stateFolder}\nadmin: {port: ${edge.agent.adminPort}}\nlisteners: [{name: http-proxy, kind: http_proxy, port: ${proxyPort}}]\ndns: {port: 0}\n`,
  )
  edge.agent.process = start(
    t,
    process.execPath,
    [path.join(edge.agent.bundleFolder, 'meshlet.cjs'), 'run', '--istio', folder, '--config', edge.agent.configFile],
    { cwd: edge.agent.bundleFolder },
  )

  /** What istiod has written into the entry; what follows for others, readiness-probe.test.ts asks. */
  const condition = (what: string, status: 'True' | 'False'): Promise<Condition> =>
    istiod.until(
      what,
      async () => {
        const [entry] = await istiod.objects('WorkloadEntry')
        const found = ((entry?.Status as { conditions?: readonly Condition[] } | undefined)?.conditions ?? []).find(
          (c) => c.type === 'Healthy',
        )
        return found?.status === status && found
      },
      30_000,
    )
  return { app, istiod, edge, condition }
}

test('meshlet run --istio', { timeout: 120_000 }, async (t) => {
  const { app, istiod, edge, condition } = await startRig(t)
  await t.test('it enrols and is configured', async () => {
    const { certificate, problems, node } = await edge.status(
      'the configuration is confirmed',
      (s) => s.control.link === 'connected' && s.state === 'ready' && !s.config.stale,
    )
    assert.equal(certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
    assert.match(node, new RegExp(`^sidecar~${NODE_IP}~.+\\.edge~edge\\.svc\\.cluster\\.local$`))
    assert.deepEqual(problems, [])
  })
  await t.test('it has registered itself, and its entry waits for word of its health, which comes', async () => {
    await condition('the workload is healthy', 'True')
    const [entry] = await istiod.objects('WorkloadEntry')
    assert.equal(entry?.name, `gw-${NODE_IP}-site-1`)
    assert.match(
      istiod.process.log,
      /auto-registered WorkloadEntry edge\/gw-127\.0\.0\.9-site-1 with health checking enabled/,
    )
  })
  await t.test('a workload that does not answer is taken out, with the reason, and comes back', async () => {
    app.behaviour = (_, res) => {
      res.writeHead(503).end()
      return true
    }
    assert.match((await condition('it is unhealthy', 'False')).message ?? '', /the status is 503/)
    const { workload, problems } = await edge.status('unhealthy', (s) => s.workload?.state === 'unhealthy')
    assert.deepEqual(
      [workload?.reason, workload?.told, problems.map((p) => p.code)],
      ['the status is 503', true, ['MESH_PROBE_FAILED']],
    )
    app.behaviour = () => false
    await condition('it is healthy again', 'True')
  })
  await t.test('another istiod is told anew, unasked', async () => {
    await istiod.restart()
    await condition('it is healthy for the new one', 'True')
  })
})
