/** A long queue of a kept session: a restart with it, and its way to the subscriber. */
import { type MqttCase, rssOf, runLoad, startBroker, withCpu } from './case.ts'

const COUNT = 1_000_000
const PAYLOAD_BYTES = 64

export const QUEUED: Readonly<Record<string, MqttCase>> = {
  'queued-1m': {
    about: `${COUNT} messages of ${PAYLOAD_BYTES} bytes wait for a kept session: per second and CPU are of their delivery, p50 is ms of the start before (mosquitto with persistence), RSS after it`,
    rounds: 1,
    async begin(subject, setting) {
      const program = subject.prepare({ ...setting, isKept: true })
      const queue = { port: setting.port, count: COUNT, payloadBytes: PAYLOAD_BYTES }
      {
        await using _ = await startBroker(setting.port, program)
        await runLoad('queue', { ...queue, do: 'leave' })
        await runLoad('queue', { ...queue, do: 'publish' })
      }
      return {
        async round() {
          const from = performance.now()
          await using broker = await startBroker(setting.port, program)
          const startMs = performance.now() - from
          const rssMiB = rssOf(broker)
          const { result, cpuUs } = await withCpu(broker, () =>
            runLoad<{ got: number; seconds: number }>('queue', { ...queue, do: 'drain' }),
          )
          if (result.got < COUNT) throw new Error(`messages are missing: ${JSON.stringify(result)}\n${broker.output()}`)
          return { cpuUs: cpuUs / COUNT, perSecond: COUNT / result.seconds, p50Ms: startMs, p99Ms: null, rssMiB }
        },
        [Symbol.asyncDispose]: async () => {},
      }
    },
  },
}
