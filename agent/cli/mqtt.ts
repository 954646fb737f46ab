/**
 * `meshlet mqtt pub|sub`: MQTT.js, an independent client, so that it also proves the broker to somebody else's code.
 */
import type { IClientOptions, MqttClient } from 'mqtt'
import { MeshError } from '../../core/errors.ts'
import type { ExitCode } from './exit.ts'
import type { Io } from './io.ts'

type Options = Readonly<Record<string, string | boolean>>
const CONNECT_TIMEOUT_MS = 10_000

export async function publish(o: Options, io: Io): Promise<ExitCode> {
  const client = await connected(o)
  try {
    const payload = o['message'] === '-' ? await io.standardInput() : Buffer.from(String(o['message']))
    await client.publishAsync(String(o['topic']), payload, { qos: qosOf(o), retain: o['retain'] === true })
    io.err(qosOf(o) === 0 ? 'sent\n' : 'acknowledged\n')
    return 0
  } finally {
    await client.endAsync()
  }
}

/** Resolves after `--count` messages, otherwise when the connection ends. */
export async function subscribe(o: Options, io: Io): Promise<ExitCode> {
  const client = await connected(o)
  const left = { count: o['count'] === undefined ? Infinity : Number(o['count']) }
  const finished = new Promise<ExitCode>((resolve) => {
    client.on('message', (topic, payload) => {
      io.out(`${topic} ${payload.toString('utf8')}\n`)
      if (--left.count <= 0) resolve(0)
    })
    client.on('close', () => resolve(1))
  })
  await client.subscribeAsync(String(o['topic']), { qos: qosOf(o) })
  const code = await finished
  await client.endAsync(true)
  return code
}

async function connected(o: Options): Promise<MqttClient> {
  const { connectAsync } = await import('mqtt')
  const options: IClientOptions = {
    host: String(o['host']),
    port: Number(o['port']),
    protocol: 'mqtt',
    protocolVersion: 5,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: 0,
    ...(o['id'] === undefined ? {} : { clientId: String(o['id']) }),
  }
  try {
    return await connectAsync(options)
  } catch (cause) {
    throw new MeshError('MESH_CONNECT_FAILED', `no MQTT broker answers on ${String(o['host'])}:${String(o['port'])}`, {
      cause,
    })
  }
}

function qosOf(o: Options): 0 | 1 | 2 {
  const qos = Number(o['qos'])
  if (qos === 0 || qos === 1 || qos === 2) return qos
  throw new MeshError('MESH_CONFIG_INVALID', `--qos must be 0, 1 or 2, not "${String(o['qos'])}"`)
}
