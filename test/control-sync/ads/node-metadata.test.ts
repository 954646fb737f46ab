import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readNodeSettings } from '../../../agent/control-sync-settings.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { readEnvSettings } from '../../../agent/config/node-env.ts'
import { describeNode, hasWorkloadEntry, type NodeDescription } from '../../../control-sync/ads/node.ts'

const node = (yaml: string): NodeDescription => {
  const loaded = loadConfig(`control: {address: "istiod.istio-system.svc:15012", roots: r}\n${yaml}`)
  assert.ok(loaded.ok, JSON.stringify(loaded))
  return describeNode(readNodeSettings(loaded.config, { version: '1', hostName: 'edge-17', ip: '10.77.0.17' }))
}
const metadata = (yaml: string): Record<string, unknown> => node(yaml).metadata

test('a node says what istiod reads of a sidecar', () => {
  const {
    id,
    cluster,
    locality,
    metadata: all,
  } = node(
    'node: {namespace: edge, serviceAccount: gateway, network: site-17, labels: {app: gw, version: v2}, locality: {region: eu, zone: a}}\nlisteners: [{name: p, kind: http_proxy, port: 15080}]\n',
  )
  assert.deepEqual(
    [id, cluster, locality],
    ['sidecar~10.77.0.17~edge-17.edge~edge.svc.cluster.local', 'gw.edge', { region: 'eu', zone: 'a', subZone: '' }],
  )
  const labels = {
    app: 'gw',
    version: 'v2',
    'service.istio.io/canonical-name': 'gw',
    'service.istio.io/canonical-revision': 'v2',
  }
  assert.deepEqual(all, {
    NAME: 'edge-17',
    NAMESPACE: 'edge',
    WORKLOAD_NAME: 'edge-17',
    SERVICE_ACCOUNT: 'gateway',
    INSTANCE_IPS: '10.77.0.17',
    CLUSTER_ID: 'Kubernetes',
    NETWORK: 'site-17',
    MESH_ID: 'cluster.local',
    ISTIO_VERSION: '1.30.0',
    INTERCEPTION_MODE: 'NONE',
    HTTP_PROXY_PORT: '15080',
    LABELS: labels,
    STATIC_LABELS: labels,
    PROXY_CONFIG: { discoveryAddress: 'istiod.istio-system.svc:15012' },
  })
})

for (const [capture, mode] of [
  ['explicit', 'NONE'],
  ['transparent', 'TPROXY'],
  ['redirect', 'REDIRECT'],
] as const) {
  test(`capture ${capture} is interception mode ${mode}`, () =>
    assert.equal(metadata(`capture: ${capture}\n`)['INTERCEPTION_MODE'], mode))
}

test("HTTP_PROXY_PORT doubles the routes: only for a proxy that routes by the table http_proxy, and never against a person's word", () => {
  assert.equal('HTTP_PROXY_PORT' in metadata(''), false)
  assert.equal(
    'HTTP_PROXY_PORT' in metadata('listeners: [{name: p, kind: http_proxy, port: 15080, routes: "80"}]\n'),
    false,
  )
  assert.equal(
    'HTTP_PROXY_PORT' in
      metadata('listeners: [{name: p, kind: http_proxy, port: 15080}]\nnode: {metadata: {HTTP_PROXY_PORT: null}}\n'),
    false,
  )
})

test('metadata of agent.yaml goes before what would be sent; null leaves it out', () => {
  const all = metadata(
    'node: {metadata: {WORKLOAD_NAME: gw, AUTO_REGISTER_GROUP: gw, NODE_NAME: rack-1, MESH_ID: null, PROXY_CONFIG: {meshId: m}}}\n',
  )
  assert.deepEqual(
    [all['WORKLOAD_NAME'], all['AUTO_REGISTER_GROUP'], all['NODE_NAME'], 'MESH_ID' in all, all['PROXY_CONFIG']],
    ['gw', 'gw', 'rack-1', false, { discoveryAddress: 'istiod.istio-system.svc:15012', meshId: 'm' }],
  )
})

test('POD_PORTS goes as a text, which is the only form that istiod reads', () => {
  const ports = '[{"name":"http","containerPort":8080,"protocol":""}]'
  assert.equal(metadata(`node: {metadata: {POD_PORTS: ${ports}}}\n`)['POD_PORTS'], ports)
  assert.equal(metadata(`node: {metadata: {POD_PORTS: '${ports}'}}\n`)['POD_PORTS'], ports)
})

test("the probe is in PROXY_CONFIG: istiod then waits for word of the node's health", () => {
  const config = metadata('readinessProbe: {tcpSocket: {port: 1}}\n')['PROXY_CONFIG'] as Record<string, unknown>
  assert.deepEqual(config['readinessProbe'], {
    initialDelaySeconds: 0,
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 1,
    tcpSocket: { port: 1 },
  })
})

test('word of health only for a node that has, or gets, a WorkloadEntry', () => {
  assert.equal(hasWorkloadEntry(node('')), false)
  assert.equal(hasWorkloadEntry(node('node: {metadata: {AUTO_REGISTER_GROUP: ""}}\n')), false)
  assert.equal(hasWorkloadEntry(node('node: {metadata: {AUTO_REGISTER_GROUP: gw}}\n')), true)
  assert.equal(hasWorkloadEntry(node('node: {metadata: {WORKLOAD_ENTRY: gw-1}}\n')), true)
})

test("the locality can stand in Istio's label", () => {
  const localityOf = (label: string, more = ''): unknown =>
    node(`node: {labels: {istio-locality: ${label}}${more}}\n`).locality
  assert.deepEqual(localityOf('eu.a.rack'), { region: 'eu', zone: 'a', subZone: 'rack' })
  assert.deepEqual(localityOf('eu.x/a/rack'), { region: 'eu.x', zone: 'a', subZone: 'rack' })
  assert.deepEqual(localityOf('eu.a', ', locality: {region: us}'), { region: 'us', zone: '', subZone: '' })
})

test('ISTIO_META_ variables: settings where there is one, metadata else; text stays text, METAJSON is parsed', () => {
  const env = readEnvSettings(
    Object.entries({
      ISTIO_META_CLUSTER_ID: 'c1',
      ISTIO_META_MESH_ID: '',
      ISTIO_META_INSTANCE_IPS: '10.0.0.1,fd00::1',
      ISTIO_META_X: '{"a":1}',
      ISTIO_METAJSON_Y: '{"b":[1],"NETWORK":"n"}',
      ISTIO_METAJSON_Z: '3',
      ISTIO_META_INTERCEPTION_MODE: 'TPROXY',
      PATH: '/bin',
      ISTIO_METAFOO: 'x',
      ISTIO_META_: 'y',
    }),
  )
  assert.deepEqual(env.node, {
    clusterId: 'c1',
    ip: '10.0.0.1',
    metadata: { INSTANCE_IPS: '10.0.0.1,fd00::1', X: '{"a":1}', Y: { b: [1], NETWORK: 'n' }, Z: 3, b: [1] },
  })
  assert.deepEqual([env.capture, env.problems], ['transparent', []])
})

test('a listener for tunnels is told to istiod, and whatever node.metadata says goes before', () => {
  const listening = 'listeners: [{name: t, kind: hbone}]\n'
  assert.equal(metadata(listening)['ENABLE_HBONE'], 'true')
  assert.equal('ENABLE_HBONE' in metadata(''), false)
  assert.equal('ENABLE_HBONE' in metadata(`${listening}node: {metadata: {ENABLE_HBONE: null}}\n`), false)
})
