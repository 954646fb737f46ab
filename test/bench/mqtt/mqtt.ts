/**
 * What does MQTT cost each broker? meshlet acknowledges QoS 1 for persistent sessions after the fsync (strict);
 * mosquitto runs without persistence (its cheapest), but where a restart is measured. The brokers of a case have their
 * rounds by turns.
 */
import { benchCertificates } from '../certificates.ts'
import { freePort } from '../measure.ts'
import { type NoRow, type PeerBench, type Row, type RunOptions } from '../bench.ts'
import { compareByTurns } from '../rounds.ts'
import type { MqttCase } from './cases/case.ts'
import { CONNECTIONS } from './cases/connections.ts'
import { LINK } from './cases/link.ts'
import { QUEUED } from './cases/queued.ts'
import { RETAINED } from './cases/retained.ts'
import { SLOW_DISK } from './cases/slow-disk.ts'
import { TRAFFIC } from './cases/traffic.ts'
import { WILDCARDS } from './cases/wildcards.ts'
import { mqttSubjects, SOCKETS, type Subject, temporaryFolder } from './subjects.ts'

const CASES: Readonly<Record<string, MqttCase>> = {
  ...TRAFFIC,
  ...CONNECTIONS,
  ...RETAINED,
  ...WILDCARDS,
  ...QUEUED,
  ...LINK,
  ...SLOW_DISK,
}

export const mqttBench: PeerBench = {
  kind: 'peers',
  name: 'mqtt',
  asks: 'what does MQTT cost a broker? 256 bytes, one publisher with 100 unacknowledged, one subscriber, if the case says nothing else',
  cases: Object.fromEntries(Object.entries(CASES).map(([name, c]) => [name, c.about])),
  subjects: mqttSubjects().map((s) => s.name),
  prints:
    'medians of rounds by turns: CPU microseconds of the broker per message, messages per second, latency (p50, p99), RSS; mosquitto runs without persistence, its cheapest way; sockets (idle-10k, clients-200, fan-in) is no peer but the floor on Node: it reads and writes, and keeps nothing',
  options: ['seconds', 'only', 'before'],
  rows,
}

async function* rows({ cases, subjects, seconds, before }: RunOptions): AsyncIterable<Row | NoRow> {
  const all = mqttSubjects(before).filter((s) => subjects.includes(s.name) || s.name === 'before')
  for (const name of cases) {
    const c = CASES[name]!
    yield* await comparison(
      name,
      c,
      all.filter((s) => c.isFor?.(s) ?? s.name !== SOCKETS),
      seconds,
    )
  }
}

async function comparison(
  name: string,
  c: MqttCase,
  subjects: readonly Subject[],
  seconds: number,
): Promise<(Row | NoRow)[]> {
  using folder = temporaryFolder()
  const tls = c.usesTls ? benchCertificates(folder.path) : undefined
  return await compareByTurns(
    { bench: 'mqtt', case: name, rounds: c.rounds, secondsPerRound: seconds / c.rounds },
    subjects.map((subject) => ({
      name: subject.name,
      find: () => subject.find(),
      begin: async () => c.begin(subject, { dir: folder.path, port: await freePort(), ...(tls && { tls }) }),
    })),
  )
}
