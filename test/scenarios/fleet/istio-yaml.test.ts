/** Istio YAML in the hub's folder, and two agents: HTTP over mTLS, with a policy that denies one path. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { freePorts } from '../../../tools/free-ports.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testHub, type TestHub } from '../../hub/start-hub.ts'
import { ask, controlYaml, Service, TestAgent, until, type Finally } from '../site.ts'

const TRUST_DOMAIN = 'demo.mesh'

const servicesYaml = (port: number, mesh: number): string => `# Where orders are.
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders.shop.svc.cluster.local]
  ports: [{number: ${port}, name: http, protocol: HTTP}]
  location: MESH_INTERNAL
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: ${mesh}}, labels: {app: orders}, serviceAccount: orders}]
`
const sidecarYaml = (mesh: number, app: number): string => `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: orders, namespace: shop}
spec:
  ingress:
  - port: {number: ${mesh}, name: http, protocol: HTTP}
    bind: 127.0.0.1
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:${app}
  egress: [{hosts: ["~/*"]}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: shop}
spec: {mtls: {mode: STRICT}}
`
const policyYaml = (path: string): string => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [${path}]}}]}]
`

type Joins = { readonly name: string; readonly namespace: string; readonly serviceAccount: string }

async function startNode(t: Finally, hub: TestHub, joins: Joins, more = ''): Promise<TestAgent> {
  const { name, namespace, serviceAccount } = joins
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  const { token } = await hub.hub.createToken({ namespace, serviceAccount, nodes: name })
  fs.writeFileSync(`${folder}/${name}.token`, token)
  const agent = new TestAgent(
    t,
    `node: {name: ${name}, namespace: ${namespace}, serviceAccount: ${serviceAccount}}\n${more}${controlYaml(folder, name, hub.hub.port)}`,
  )
  await agent.start()
  await agent.connected()
  return agent
}

test('Istio YAML is compiled for two agents: mTLS between them, and one path is denied', async (t) => {
  const [port, mesh, proxy] = (await freePorts(3)) as [number, number, number]
  const app = await Service.start(t)
  const hub = await testHub(t)
  hub.write('services.yaml', servicesYaml(port, mesh))
  hub.write('shop.yaml', sidecarYaml(mesh, app.port))
  hub.write('policy.yaml', policyYaml('/admin'))
  const orders = await startNode(t, hub, { name: 'orders-1', namespace: 'shop', serviceAccount: 'orders' })
  const edge = await startNode(
    t,
    hub,
    { name: 'edge-1', namespace: 'edge', serviceAccount: 'gateway' },
    `listeners: [{kind: http_proxy, name: out, port: ${proxy}, address: 127.0.0.1}]\n`,
  )
  const get = async (path: string): Promise<string> => {
    const { status, body } = await ask(proxy, `http://orders.shop.svc.cluster.local:${port}${path}`)
    return `${status} ${body}`
  }
  await until('orders answer', async () => (await get('/list')) === '200 GET /list')
  assert.deepEqual([...app.callers], [`spiffe://${TRUST_DOMAIN}/ns/edge/sa/gateway`])
  assert.match(await get('/admin'), /^403 RBAC: access denied/)

  hub.write('policy.yaml', policyYaml('/list'))
  await until('another path is denied', async () => (await get('/list')).startsWith('403'))
  assert.equal(await get('/admin'), '200 GET /admin')

  hub.write('policy.yaml', policyYaml('/admin').replace('rules', 'rule'))
  const refused = await until('the mistake is told', () => hub.lines.find((l) => l['evt'] === 'hub.resource-refused'))
  assert.match(
    String(refused['problem']),
    /^policy\.yaml line 6, column 3: AuthorizationPolicy shop\/orders, spec\.rule: is no field .*rules/,
  )
  assert.match(await get('/list'), /^403/)
  assert.deepEqual([...orders.status().problems, ...edge.status().problems], [])
})
