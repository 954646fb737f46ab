/**
 * MQTT policy through an unmodified istiod: an EnvoyFilter makes a listener, its routes lead to a broker of the mesh
 * over mutual TLS.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { connect, connectAsync, type MqttClient } from 'mqtt'
import { freePorts } from '../../../../tools/free-ports.ts'
import { until, type Finally } from '../../programs.ts'
import { serviceEntry, SIDECAR_LABEL } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

/**
 * A network filter that Istio knows nothing of: a TypedStruct with the schema of agent.yaml's `mqtt:` section.
 * @param value YAML flow mapping
 */
const mqttFilter = (port: number, value: string): string => `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: mqtt, namespace: edge}
spec:
  workloadSelector: {labels: {app: edge}}
  configPatches:
  - applyTo: LISTENER
    match: {context: SIDECAR_OUTBOUND}
    patch:
      operation: ADD
      value:
        name: meshlet_mqtt
        address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}
        filter_chains:
        - filters:
          - name: meshlet.mqtt_proxy
            typed_config:
              "@type": type.googleapis.com/xds.type.v3.TypedStruct
              type_url: type.googleapis.com/meshlet.mqtt.v1.MqttProxy
              value: ${value}
`

/** MQTT 5.0 §2.4. */
const NOT_AUTHORIZED = 0x87

async function client(
  t: Finally,
  port: number,
  clientId: string,
): Promise<{ readonly mqtt: MqttClient; readonly seen: string[] }> {
  const mqtt = await connectAsync({ host: '127.0.0.1', port, clientId, protocolVersion: 5, reconnectPeriod: 0 })
  mqtt.on('error', () => {
    /* cut off on purpose */
  })
  t.after(async () => {
    await mqtt.endAsync(true)
  })
  const seen: string[] = []
  mqtt.on('message', (topic, payload) => {
    seen.push(`${topic} ${payload.toString()}`)
  })
  return { mqtt, seen }
}

/**
 * One connection, one message: what became of it. The change of a listener asks its clients to connect anew, which is
 * `closed`.
 */
function tryPublish(port: number, topic: string): Promise<'taken' | 'closed' | number> {
  const mqtt = connect({ host: '127.0.0.1', port, clientId: 'once', protocolVersion: 5, reconnectPeriod: 0 })
  return new Promise<'taken' | 'closed' | number>((resolve) => {
    mqtt.on('error', () => {
      /* followed by close */
    })
    mqtt.once('close', () => {
      resolve('closed')
    })
    mqtt.once('connect', () => {
      mqtt.publish(topic, 'x', { qos: 1 }, (err) => {
        resolve(err ? ((err as { code?: number }).code ?? 'closed') : 'taken')
      })
    })
  }).finally(() => {
    mqtt.end(true)
  })
}

async function startRig(t: TestContext) {
  const [mqttPort, servicePort, brokerPort, brokerPlainPort] = (await freePorts(4)) as [number, number, number, number]
  const istiod = await Istiod.create(t)
  const CLUSTER = `outbound|${servicePort}||broker.cloud.svc.cluster.local`
  const routes = `routes: [{match: "telemetry/#", direction: up, cluster: "${CLUSTER}"}, {match: "command/#", direction: down, cluster: "${CLUSTER}"}]`
  istiod.write(
    'broker',
    serviceEntry('broker', {
      namespace: 'cloud',
      port: servicePort,
      protocol: 'TCP',
      endpoints: [{ address: '127.0.0.1', port: brokerPort, labels: SIDECAR_LABEL, serviceAccount: 'broker' }],
    }) +
      // The broker's node is on the same machine and must not open the service's port as well.
      '---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: cloud}\nspec: {egress: [{hosts: ["~/*"]}]}\n',
  )
  istiod.write('mqtt', mqttFilter(mqttPort, `{${routes}}`))
  await istiod.start()
  const broker = await MeshAgent.create(t, istiod, {
    name: 'broker-1',
    namespace: 'cloud',
    serviceAccount: 'broker',
    app: 'broker',
    ip: '127.0.0.8',
    listeners: [
      `{name: mqtts, kind: mqtt, port: ${brokerPort}, tls: {mode: mutual}}`,
      `{name: mqtt, kind: mqtt, port: ${brokerPlainPort}}`,
    ],
  })
  await broker.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  await edge.status('the pushed listener is open', ({ listeners }) =>
    listeners.some((l) => l.name === 'meshlet_mqtt' && l.state === 'listening'),
  )

  const [device, cloud] = [await client(t, mqttPort, 'device'), await client(t, brokerPlainPort, 'cloud')]
  await device.mqtt.subscribeAsync(['local/#', 'command/#'], { qos: 1 })
  await cloud.mqtt.subscribeAsync('telemetry/#', { qos: 1 })
  return { mqttPort, istiod, edge, device, cloud, routes, CLUSTER }
}
type Rig = Awaited<ReturnType<typeof startRig>>

test('MQTT by EnvoyFilter', { timeout: 180_000 }, async (t) => {
  const rig = await startRig(t)
  await trafficAndRoutes(t, rig)
  await changesOfPolicy(t, rig)
})

async function trafficAndRoutes(t: TestContext, { edge, device, cloud, CLUSTER }: Rig): Promise<void> {
  await t.test('a device publishes and subscribes at the pushed port', async () => {
    await device.mqtt.publishAsync('local/a', '1', { qos: 1 })
    await until('it has its own message', () => device.seen.includes('local/a 1'))
  })
  await t.test('routes go both ways to the broker of the mesh, over mutual TLS', async () => {
    await edge.status('the bridge is connected', ({ bridge }) =>
      bridge.some((b) => b.cluster === CLUSTER && b.state === 'connected'),
    )
    await device.mqtt.publishAsync('telemetry/a', 'up', { qos: 1 })
    await until('the cloud has it', () => cloud.seen.includes('telemetry/a up'))
    await cloud.mqtt.publishAsync('command/a', 'down', { qos: 1 })
    await until('the device has it', () => device.seen.includes('command/a down'))
  })
}

async function changesOfPolicy(t: TestContext, { mqttPort, istiod, edge, routes }: Rig): Promise<void> {
  await t.test('a pushed rule is in force for new clients', async () => {
    istiod.write(
      'mqtt',
      mqttFilter(
        mqttPort,
        `{${routes}, rules: [{action: publish, topics: ["secret/#"], effect: deny}, {action: publish, topics: ["#"], effect: allow}]}`,
      ),
    )
    await until(
      'publishing to secret/# is refused',
      async () => (await tryPublish(mqttPort, 'secret/a')) === NOT_AUTHORIZED,
    )
    assert.equal(await tryPublish(mqttPort, 'local/a'), 'taken')
  })
  await t.test(
    'a policy that cannot be read is refused, and nobody gets in: it may have asked for more than the one before',
    async () => {
      istiod.write('mqtt', mqttFilter(mqttPort, `{${routes}, rulez: []}`))
      // What is refused is known a moment before what is in force instead.
      const { problems } = await edge.status(
        'refused',
        (s) =>
          s.config.rejected.some((r) => r.name === 'meshlet_mqtt') &&
          s.problems.some((p) => p.code === 'MESH_CHAIN_BLOCKED'),
      )
      assert.match(problems.find((p) => p.code === 'MESH_CONFIG_REJECTED')?.text ?? '', /rulez/)
      await until('clients are closed', async () => (await tryPublish(mqttPort, 'local/b')) === 'closed')
      await istiod.until(
        'istiod has counted the refusal',
        async () => (await istiod.metric('pilot_total_xds_rejects', 'lds')) === 1,
      )
      istiod.write('mqtt', mqttFilter(mqttPort, `{${routes}}`))
      await until(
        'with the mended one they are served',
        async () => (await tryPublish(mqttPort, 'local/b')) === 'taken',
      )
    },
  )
  await t.test('without the EnvoyFilter the port is closed and the bridge ends', async () => {
    istiod.remove('mqtt')
    await edge.status(
      'closed',
      ({ listeners, bridge, problems }) =>
        !listeners.some((l) => l.name === 'meshlet_mqtt') && bridge.length === 0 && problems.length === 0,
    )
  })
}
