/** Retained messages: how long they take to set and to get, and what they hold. */
import { type MqttCase, rssOf, runLoad, startBroker, withCpu } from './case.ts'
import { sleep } from '../../../conformance/programs.ts'

const COUNT = 100_000
const PAYLOAD_BYTES = 64
/** By then garbage is collected. */
const SETTLE_MS = 20_000

export const RETAINED: Readonly<Record<string, MqttCase>> = {
  'retained-100k': {
    about: `${COUNT} retained messages of ${PAYLOAD_BYTES} bytes, set one after the other with QoS 1; p50 is ms until all are set, p99 until a subscriber has them, RSS ${SETTLE_MS / 1000} s later`,
    rounds: 1,
    async begin(subject, setting) {
      const broker = await startBroker(setting.port, subject.prepare(setting))
      return {
        async round() {
          const { result, cpuUs } = await withCpu(broker, () =>
            runLoad<{ setMs: number; getMs: number }>('retained', {
              port: setting.port,
              count: COUNT,
              payloadBytes: PAYLOAD_BYTES,
            }),
          )
          await sleep(SETTLE_MS)
          return {
            cpuUs: cpuUs / COUNT,
            perSecond: COUNT / (result.setMs / 1000),
            p50Ms: result.setMs,
            p99Ms: result.getMs,
            rssMiB: rssOf(broker),
          }
        },
        [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
      }
    },
  },
}
