/** Messages from publishers to subscribers: QoS, sizes, windows, many to one and one to many. */
import type { Figures } from '../../rounds.ts'
import { type MqttCase, rssOf, runLoad, startBroker, withCpu } from './case.ts'

type Traffic = {
  readonly qos: 0 | 1 | 2
  readonly subscriber: 'clean' | 'persistent' | 'offline'
  readonly window: number
  readonly payloadBytes: number
  readonly publishers: number
  readonly subscribers: number
}
type Result = {
  readonly sent: number
  readonly acked: number
  readonly delivered: number
  readonly seconds: number
  readonly p50Ms: number | null
  readonly p99Ms: number | null
}
const USUAL = { window: 100, payloadBytes: 256, publishers: 1, subscribers: 1 }
const KINDS = {
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
} as const
const VARIANTS = {
  w1: { window: 1, about: 'one message at a time' },
  w1000: { window: 1000, about: '1,000 unacknowledged' },
  '16b': { payloadBytes: 16, about: '16 bytes' },
  '4k': { payloadBytes: 4 * 1024, about: '4 KiB' },
  '64k': { payloadBytes: 64 * 1024, about: '64 KiB' },
  '256k': { payloadBytes: 256 * 1024, about: '256 KiB' },
} as const
/** Of these the sizes and windows, too. */
const VARIED = new Set(['qos0', 'qos1', 'qos1-durable', 'qos2'])
const ROUNDS = 3

export const TRAFFIC: Readonly<Record<string, MqttCase>> = {
  ...Object.fromEntries(
    Object.entries(KINDS).flatMap(([name, { about, ...kind }]) => [
      [name, traffic(about, { ...USUAL, ...kind })] as const,
      ...(VARIED.has(name) ? Object.entries(VARIANTS) : []).map(
        ([suffix, { about: how, ...variant }]) =>
          [`${name}-${suffix}`, traffic(`${name}, ${how}`, { ...USUAL, ...kind, ...variant })] as const,
      ),
    ]),
  ),
  'fan-out': traffic('QoS 1 from one publisher to 500 subscribers without kept sessions; CPU is per delivery', {
    ...USUAL,
    qos: 1,
    subscriber: 'clean',
    subscribers: 500,
  }),
  'fan-in': withFloor(
    traffic('QoS 1 from 500 publishers, each one at a time, to one kept session', {
      ...USUAL,
      qos: 1,
      subscriber: 'persistent',
      publishers: 500,
      window: 1,
    }),
  ),
  'clients-200': withFloor(
    traffic('QoS 1 from 200 publishers, each one at a time, to one without a kept session', {
      ...USUAL,
      qos: 1,
      subscriber: 'clean',
      publishers: 200,
      window: 1,
    }),
  ),
}

/** Beside a Node that only reads and writes (load/bare-sockets.ts). */
function withFloor(of: MqttCase): MqttCase {
  return { ...of, isFor: () => true }
}
function traffic(about: string, t: Traffic): MqttCase {
  return {
    about,
    rounds: ROUNDS,
    async begin(subject, setting) {
      const broker = await startBroker(setting.port, subject.prepare(setting))
      const load = async (seconds: number): Promise<Figures> => {
        const { result, cpuUs } = await withCpu(broker, () =>
          runLoad<Result>('traffic', { ...t, port: setting.port, seconds }),
        )
        const isAcked = t.qos === 0 || result.acked === result.sent
        const isDelivered = t.subscriber === 'offline' || result.delivered >= result.sent * t.subscribers
        if (!isAcked || !isDelivered)
          throw new Error(`messages are missing: ${JSON.stringify(result)}\n${broker.output()}`)
        const messages = result.sent * t.subscribers
        return {
          cpuUs: cpuUs / messages,
          perSecond: messages / result.seconds,
          p50Ms: result.p50Ms,
          p99Ms: result.p99Ms,
          rssMiB: rssOf(broker),
        }
      }
      try {
        await load(2) // warm-up
      } catch (err) {
        await broker[Symbol.asyncDispose]()
        throw err
      }
      return { round: load, [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose]() }
    },
  }
}
