/** What waited during an outage goes upstream over a long way. */
import path from 'node:path'
import { freePort, LOAD_CORE, startPinned, untilListening } from '../../measure.ts'
import { type MqttCase, rssOf, runLoad, startBroker, withCpu } from './case.ts'
import { prepareMosquitto } from '../subjects.ts'

const COUNT = 100_000
const PAYLOAD_BYTES = 64
const ROUND_TRIP_MS = 600
const AT_MOST_SECONDS = 30
const FILE = path.resolve(import.meta.dirname, '../load/slow-link.ts')

export const LINK: Readonly<Record<string, MqttCase>> = {
  'link-600ms': {
    about: `${COUNT} messages of ${PAYLOAD_BYTES} bytes wait in a bridge whose upstream (a mosquitto) comes back, ${ROUND_TRIP_MS} ms away; per second from the first on, for ${AT_MOST_SECONDS} s at most`,
    rounds: 1,
    async begin(subject, setting) {
      const upstream = await freePort()
      const broker = await startBroker(setting.port, subject.prepare({ ...setting, upstream, maxInflight: 0 }))
      const shared = { count: COUNT, payloadBytes: PAYLOAD_BYTES }
      return {
        async round() {
          const farPort = await freePort()
          const far = prepareMosquitto({ dir: path.join(setting.dir, 'upstream'), port: farPort, maxInflight: 0 })
          await using cloud = startPinned(LOAD_CORE, far.command, far.args)
          await untilListening(farPort, cloud)
          await runLoad('queue', { ...shared, port: setting.port, do: 'publish' })
          await runLoad('queue', { ...shared, port: farPort, do: 'leave' })
          const link = JSON.stringify({ port: upstream, to: farPort, delayMs: ROUND_TRIP_MS / 2 })
          const drained = runLoad<{ got: number; sinceFirst: number }>('queue', {
            ...shared,
            port: farPort,
            do: 'drain',
            seconds: AT_MOST_SECONDS,
          })
          await using _ = startPinned(LOAD_CORE, process.execPath, [FILE, link])
          const { result, cpuUs } = await withCpu(broker, () => drained)
          return {
            cpuUs: cpuUs / Math.max(1, result.got),
            perSecond: result.got / result.sinceFirst,
            p50Ms: null,
            p99Ms: null,
            rssMiB: rssOf(broker),
          }
        },
        [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
      }
    },
  },
}
