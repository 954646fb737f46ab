/**
 * What does one MQTT message cost each broker? One publisher, at most one subscriber, 256-byte payloads, window 100.
 * meshlet acknowledges QoS 1 for persistent sessions after the fsync (strict); mosquitto runs without persistence (its
 * cheapest).
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { cpuNs, freePort, LOAD_CORE, rssMiB, run, startPinned, SUBJECT_CORE, untilListening } from '../measure.ts'
import { type NoRow, type PeerBench, type Row, rowOf, type RunOptions } from '../bench.ts'

type MqttCase = {
  readonly qos: 0 | 1 | 2
  readonly subscriber: 'clean' | 'persistent' | 'offline'
  readonly about: string
}
const CASES: Readonly<Record<string, MqttCase>> = {
  qos0: {
    qos: 0,
    subscriber: 'clean',
    about: 'QoS 0, at most 2,000 on the way; latency is from the publisher to the subscriber',
  },
  qos1: { qos: 1, subscriber: 'clean', about: 'QoS 1 to a subscriber without a kept session; latency is until PUBACK' },
  'qos1-durable': {
    qos: 1,
    subscriber: 'persistent',
    about: 'QoS 1 to a kept session: meshlet acknowledges after the fsync',
  },
  'qos1-offline': { qos: 1, subscriber: 'offline', about: 'QoS 1 for a kept session that is away' },
  qos2: {
    qos: 2,
    subscriber: 'clean',
    about: 'QoS 2 to a subscriber without a kept session; latency is until PUBCOMP',
  },
  'qos2-durable': {
    qos: 2,
    subscriber: 'persistent',
    about: 'QoS 2 to a kept session: meshlet answers PUBREC after the fsync',
  },
}
const WINDOW = 100
const PAYLOAD_BYTES = 256
const BUNDLE = path.resolve(import.meta.dirname, '../../../dist/meshlet.cjs')

const SUBJECTS = [
  {
    name: 'meshlet',
    prepare(dir: string, port: number) {
      fs.mkdirSync(path.join(dir, 'resources'), { recursive: true })
      const config = path.join(dir, 'agent.yaml')
      fs.writeFileSync(
        config,
        `node: {name: bench}\ndirectory: ${dir}/resources\nstate: ${dir}/state\nadmin: {port: 0}\nlisteners: [{name: mqtt, kind: mqtt, port: ${port}}]\nmqtt:\n  limits: {maxQueuedMessages: 100000000, maxQueuedBytes: 100000000000}\n  spool: {profile: strict, maxBytes: 100000000000, maxMessages: 1000000000}\nlog: {level: warn}\n`,
      )
      return {
        command: process.execPath,
        args: ['--max-semi-space-size=4', '--v8-pool-size=1', BUNDLE, 'run', '--config', config],
      }
    },
  },
  {
    name: 'mosquitto',
    prepare(dir: string, port: number) {
      const config = path.join(dir, 'mosquitto.conf')
      fs.writeFileSync(
        config,
        `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 100\n`,
      )
      return { command: findDebianProgram('mosquitto'), args: ['-c', config] }
    },
  },
] as const

export const mqttBench: PeerBench = {
  kind: 'peers',
  name: 'mqtt',
  asks: `what does one MQTT message cost a broker? ${PAYLOAD_BYTES} bytes, one publisher with ${WINDOW} unacknowledged, one subscriber`,
  cases: Object.fromEntries(Object.entries(CASES).map(([name, c]) => [name, c.about])),
  subjects: SUBJECTS.map((s) => s.name),
  prints:
    'CPU microseconds of the broker per message, messages per second, latency (p50, p99), RSS. mosquitto runs without persistence, its cheapest way',
  options: ['seconds', 'only'],
  rows,
}

async function* rows(options: RunOptions): AsyncIterable<Row | NoRow> {
  for (const name of options.cases) {
    for (const subject of SUBJECTS.filter((s) => options.subjects.includes(s.name))) {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-bench-'))
      try {
        const port = await freePort()
        yield await rowOf(
          { bench: 'mqtt', case: name, subject: subject.name },
          () => subject.prepare(dir, port),
          (program) => measured(CASES[name]!, program, port, options.seconds),
        )
      } finally {
        fs.rmSync(dir, { recursive: true, force: true })
      }
    }
  }
}

async function measured(
  c: MqttCase,
  { command, args }: { readonly command: string; readonly args: readonly string[] },
  port: number,
  seconds: number,
): Promise<Omit<Row, 'bench' | 'case' | 'subject'>> {
  await using broker = startPinned(SUBJECT_CORE, command, args)
  await untilListening(port, broker)
  await load(port, c, 1) // warm-up
  const before = cpuNs(broker.pid)
  const result = await load(port, c, seconds)
  const cpu = cpuNs(broker.pid) - before
  const complete =
    (c.qos === 0 || result.acked === result.sent) && (c.subscriber === 'offline' || result.delivered >= result.sent)
  if (!complete) throw new Error(`messages are missing: ${JSON.stringify(result)}\n${broker.output()}`)
  return {
    cpuUs: cpu / 1000 / result.sent,
    perSecond: result.sent / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    rssMiB: rssMiB(broker.pid),
  }
}

type Result = {
  sent: number
  acked: number
  delivered: number
  seconds: number
  p50Ms: number | null
  p99Ms: number | null
}
async function load(port: number, c: MqttCase, seconds: number): Promise<Result> {
  const out = await run(LOAD_CORE, process.execPath, [
    path.resolve(import.meta.dirname, 'load.ts'),
    String(port),
    String(c.qos),
    String(WINDOW),
    String(seconds),
    c.subscriber,
    String(PAYLOAD_BYTES),
  ])
  return JSON.parse(out.trim().split('\n').at(-1)!) as Result
}
