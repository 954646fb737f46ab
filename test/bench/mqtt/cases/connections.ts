/** Clients that are connected, each subscribed to one topic, and quiet. */
import path from 'node:path'
import { LOAD_CORE, readFirstLine, startPinned } from '../../measure.ts'
import { SOCKETS } from '../subjects.ts'
import { type MqttCase, rssOf, startBroker, withCpu } from './case.ts'
import { sleep } from '../../../conformance/programs.ts'

const CLIENTS = 10_000
/** By then a start's garbage and that of the connects is collected. */
const SETTLE_MS = 20_000
const WATCHED_MS = 3_000
const FILE = path.resolve(import.meta.dirname, '../load/connections.ts')

export const CONNECTIONS: Readonly<Record<string, MqttCase>> = {
  'idle-10k': idle(false),
  'idle-10k-tls': idle(true),
}

function idle(usesTls: boolean): MqttCase {
  return {
    about: `${CLIENTS} clients${usesTls ? ' over TLS' : ''}, each with one subscription, ${SETTLE_MS / 1000} s later; CPU is per connect, per second are connects`,
    rounds: 1,
    usesTls,
    isFor: ({ name }) => !usesTls || name !== SOCKETS,
    async begin(subject, setting) {
      const broker = await startBroker(setting.port, subject.prepare(setting))
      return {
        async round() {
          const roots = setting.tls && { roots: setting.tls.roots }
          const options = JSON.stringify({ port: setting.port, count: CLIENTS, ...roots })
          let load: ReturnType<typeof startPinned> | undefined
          const { result: seconds, cpuUs } = await withCpu(broker, async () => {
            load = startPinned(LOAD_CORE, process.execPath, [FILE, options])
            return (await readFirstLine<{ seconds: number }>(load)).seconds
          })
          await using _ = load!
          await sleep(SETTLE_MS - WATCHED_MS)
          const quiet = await withCpu(broker, () => sleep(WATCHED_MS))
          if (load!.output().split('\n').length > 2) throw new Error(load!.output())
          return {
            cpuUs: cpuUs / CLIENTS,
            perSecond: CLIENTS / seconds,
            p50Ms: quiet.cpuUs / WATCHED_MS,
            p99Ms: null,
            rssMiB: rssOf(broker),
          }
        },
        [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
      }
    },
  }
}
