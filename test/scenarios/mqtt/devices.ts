/** MQTT clients (MQTT.js) of an agent's listener `mqtt`. */
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { until, type Finally, type TestAgent } from '../site.ts'

export const MQTT = 'listeners: [{name: mqtt, kind: mqtt, port: 0}]\n'

const optionsOf = (agent: TestAgent, clientId: string, version: 4 | 5): IClientOptions => ({
  host: '127.0.0.1',
  port: agent.port('mqtt'),
  clientId,
  protocolVersion: version,
  reconnectPeriod: 0,
})
const READER: IClientOptions = { clean: false, properties: { sessionExpiryInterval: 3600 } }

export async function device(t: Finally, agent: TestAgent, clientId: string, version: 4 | 5 = 5): Promise<MqttClient> {
  const client = await connectAsync(optionsOf(agent, clientId, version))
  client.on('error', () => {
    /* the agent goes away with the test */
  })
  t.after(() => {
    client.end(true)
  })
  return client
}

/** The reason of the acknowledgement; 0 = taken. */
export async function publish(client: MqttClient, payload: string, qos: 1 | 2 = 1): Promise<number> {
  try {
    await client.publishAsync('a/b', payload, { qos })
    return 0
  } catch (err) {
    return (err as { code?: number }).code ?? -1
  }
}

/** A session that is kept while its client, `reader`, is away. */
export async function subscribeAndLeave(agent: TestAgent): Promise<void> {
  const client = await connectAsync({ ...optionsOf(agent, 'reader', 5), ...READER })
  await client.subscribeAsync('a/#', { qos: 2 })
  await client.endAsync()
}

/**
 * Everything that waits for `reader`, in the order of arrival; over when the spool is empty, so nothing can be missing
 * or come twice.
 */
export async function readAll(t: Finally, agent: TestAgent): Promise<string[]> {
  const got: string[] = []
  // Not connectAsync: what waits comes with CONNACK, and would find nobody who listens.
  const client = connect({ ...optionsOf(agent, 'reader', 5), ...READER })
  client.on('message', (_topic, payload) => {
    got.push(payload.toString())
  })
  client.on('error', () => {
    /* the agent goes away with the test */
  })
  t.after(() => {
    client.end(true)
  })
  await new Promise((resolve) => {
    client.once('connect', resolve)
  })
  await until('everything is acknowledged', () => agent.status().spool.messages === 0)
  return got
}
