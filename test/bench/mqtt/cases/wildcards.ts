/** Many filters with wildcards: what it costs to find the ones that match. */
import type { Figures } from '../../rounds.ts'
import { type MqttCase, rssOf, runLoad, startBroker, withCpu } from './case.ts'

const FILTERS = 10_000
type Result = { readonly sent: number; readonly acked: number; readonly delivered: number; readonly seconds: number }

export const WILDCARDS: Readonly<Record<string, MqttCase>> = {
  'wildcards-10k': {
    about: `QoS 1 published to a subscriber with ${FILTERS} filters with wildcards (QoS 0), of which one or two match`,
    rounds: 3,
    async begin(subject, setting) {
      const broker = await startBroker(setting.port, subject.prepare(setting))
      const load = async (seconds: number): Promise<Figures> => {
        const options = { port: setting.port, filters: FILTERS, seconds }
        const { result, cpuUs } = await withCpu(broker, () => runLoad<Result>('wildcards', options))
        if (result.acked < result.sent || result.delivered < result.sent)
          throw new Error(`messages are missing: ${JSON.stringify(result)}\n${broker.output()}`)
        return {
          cpuUs: cpuUs / result.sent,
          perSecond: result.sent / result.seconds,
          p50Ms: null,
          p99Ms: null,
          rssMiB: rssOf(broker),
        }
      }
      await load(2) // warm-up
      return { round: load, [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose]() }
    },
  },
}
