/**
 * MQTT topics in an AuthorizationPolicy, through an unmodified istiod: it takes the conditions as metadata of a filter,
 * and the entrance of the node asks them with the principal of the client's certificate.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import mqtt, { type MqttClient } from 'mqtt'
import type { Identity } from '../../../../model/identity.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { until } from '../../programs.ts'
import { ingressYaml, meshConnect, peerAuthentication } from '../rig/inbound.ts'
import { certificateOf } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

const mqttEntrance = (port: number): string => `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: mqtt, namespace: edge}
spec:
  workloadSelector: {labels: {app: edge}}
  configPatches:
  - applyTo: NETWORK_FILTER
    match: {context: SIDECAR_INBOUND, listener: {portNumber: ${port}, filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}
    patch:
      operation: REPLACE
      value:
        name: meshlet.mqtt_proxy
        typed_config:
          "@type": type.googleapis.com/xds.type.v3.TypedStruct
          type_url: type.googleapis.com/meshlet.mqtt.v1.MqttProxy
          value: {}
`
const KEY = 'experimental.envoy.filters.network.meshlet.mqtt_proxy'
const authorization = (action: string, rules: string): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${action.toLowerCase()}, namespace: edge}
spec:
  selector: {matchLabels: {app: edge}}
  action: ${action}
  rules:
${rules}`
const ALLOW = authorization(
  'ALLOW',
  `  - from: [{source: {principals: ["cluster.local/ns/shop/sa/orders"]}}]
    when:
    - {key: "${KEY}[action]", values: [publish]}
    - {key: "${KEY}[topic]", values: ["orders/#", "[bills/+]"]}
  - from: [{source: {namespaces: [guests, shop]}}]
    when:
    - {key: "${KEY}[action]", values: [subscribe]}
    - {key: "${KEY}[topic]", values: ["news/*"], notValues: ["news/secret/#"]}
`,
)
const DENY = authorization('DENY', `  - when: [{key: "${KEY}[topic]", values: ["orders/closed/#"]}]\n`)

/** 0 = taken. */
async function reasonOf(done: Promise<unknown>): Promise<number> {
  try {
    await done
    return 0
  } catch (err) {
    return (err as { readonly code?: number }).code ?? -1
  }
}

test('AuthorizationPolicy by principal and topic', { timeout: 180_000 }, async (t) => {
  const [port] = (await freePorts(1)) as [number]
  const istiod = await Istiod.create(t)
  istiod.write('edge', ingressYaml({ mqtt: { port, protocol: 'TCP', to: 9 } }) + peerAuthentication('STRICT'))
  istiod.write('mqtt', mqttEntrance(port))
  istiod.write('allow', ALLOW)
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  await edge.status('the inbound port is open', ({ listeners }) =>
    listeners.some((l) => l.address.endsWith(`:${port}`) && l.state === 'listening'),
  )
  const dial = async (identity: Identity, clientId: string): Promise<MqttClient> => {
    const stream = await meshConnect(identity, { port, alpn: ['istio'] })
    const client = new mqtt.MqttClient(() => stream, { clientId, protocolVersion: 5, reconnectPeriod: 0 })
    client.on('error', () => {
      /* cut off on purpose */
    })
    t.after(() => {
      client.end(true)
    })
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve())
      client.once('close', () => reject(new Error('closed')))
    })
    return client
  }
  const publish = (client: MqttClient, topic: string): Promise<number> =>
    reasonOf(client.publishAsync(topic, 'x', { qos: 1 }))
  // MQTT.js tells of a refused SUBSCRIBE without its code.
  const subscribe = async (client: MqttClient, filter: string): Promise<boolean> =>
    (await reasonOf(client.subscribeAsync(filter))) === 0

  const [shop, guest, other] = [
    await certificateOf(istiod, 'shop', 'orders'),
    await certificateOf(istiod, 'guests', 'nobody'),
    await certificateOf(istiod, 'other', 'nobody'),
  ]
  const orders = await dial(shop, 'orders')
  assert.deepEqual(
    await Promise.all(
      ['orders/1', 'orders/closed/1', 'bills/1', 'bills/1/2', 'news/a'].map((one) => publish(orders, one)),
    ),
    [0, 0, 0, 0x87, 0x87],
  )
  assert.equal(await subscribe(orders, 'news/#'), false, 'some of it is secret')
  assert.deepEqual([await subscribe(orders, 'news/sport/#'), await subscribe(orders, 'orders/#')], [true, false])
  const reader = await dial(guest, 'reader')
  assert.deepEqual([await publish(reader, 'orders/1'), await subscribe(reader, 'news/local')], [0x87, true])
  await assert.rejects(dial(other, 'other'), 'no rule lets it do anything')

  istiod.write('deny', DENY)
  await until('orders/closed is denied', async () => (await publish(orders, 'orders/closed/1')) === 0x87)
  assert.equal(await publish(orders, 'orders/1'), 0)
  assert.deepEqual(await edge.problems(), [])
  assert.equal(await istiod.metric('pilot_total_xds_rejects'), 0)
})
