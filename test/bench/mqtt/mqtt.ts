/**
 * What does MQTT cost each broker? meshlet acknowledges QoS 1 for persistent sessions after the fsync (strict);
 * mosquitto runs without persistence (its cheapest), but where a restart is measured. The brokers of a case have their
 * rounds by turns.
 */
import { benchCertificates } from '../certificates.ts'
import { freePort } from '../measure.ts'
import { type NoRow, messageOf, type PeerBench, type Row, type RunOptions } from '../bench.ts'
import type { Begun, Figures, MqttCase } from './cases/case.ts'
import { CONNECTIONS } from './cases/connections.ts'
import { LINK } from './cases/link.ts'
import { QUEUED } from './cases/queued.ts'
import { RETAINED } from './cases/retained.ts'
import { SLOW_DISK } from './cases/slow-disk.ts'
import { TRAFFIC } from './cases/traffic.ts'
import { WILDCARDS } from './cases/wildcards.ts'
import { mqttSubjects, type Subject, temporaryFolder } from './subjects.ts'

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
    'medians of rounds by turns: CPU microseconds of the broker per message, messages per second, latency (p50, p99), RSS; mosquitto runs without persistence, its cheapest way',
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
      all.filter((s) => c.isFor?.(s) ?? true),
      seconds,
    )
  }
}

type Turn = {
  readonly subject: Subject
  readonly figures: Figures[]
  begun?: Begun
  problem?: Pick<NoRow, 'what' | 'why'>
}

async function comparison(
  name: string,
  c: MqttCase,
  subjects: readonly Subject[],
  seconds: number,
): Promise<(Row | NoRow)[]> {
  await using held = new AsyncDisposableStack()
  const dir = held.use(temporaryFolder()).path
  const tls = c.usesTls ? benchCertificates(dir) : undefined
  const turns: Turn[] = subjects.map((subject) => ({ subject, figures: [] }))
  for (const turn of turns)
    await attempt(turn, 'cannot be had', async () => {
      turn.subject.find()
      await attempt(turn, 'failed', async () => {
        turn.begun = held.use(await c.begin(turn.subject, { dir, port: await freePort(), ...(tls && { tls }) }))
      })
    })
  for (let round = 0; round < c.rounds; round++)
    for (const turn of turns)
      if (turn.begun && !turn.problem)
        await attempt(turn, 'failed', async () => {
          turn.figures.push(await turn.begun!.round(seconds / c.rounds))
        })
  return turns.map(({ subject, figures, problem }) => {
    const id = { bench: 'mqtt', case: name, subject: subject.name }
    return problem ? { ...id, ...problem } : { ...id, ...medians(figures) }
  })
}

async function attempt(turn: Turn, what: NoRow['what'], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (err) {
    turn.problem ??= { what, why: messageOf(err) }
  }
}

function medians(all: readonly Figures[]): Figures & Pick<Row, 'cpuSpread'> {
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!
  const known = (of: (f: Figures) => number | null): number | null => {
    const values = all.map(of).filter((v) => v !== null)
    return values.length === 0 ? null : middle(values)
  }
  const cpu = all.map((f) => f.cpuUs)
  return {
    cpuUs: middle(cpu),
    cpuSpread: { least: Math.min(...cpu), most: Math.max(...cpu), rounds: cpu.length },
    perSecond: middle(all.map((f) => f.perSecond)),
    p50Ms: known((f) => f.p50Ms),
    p99Ms: known((f) => f.p99Ms),
    rssMiB: middle(all.map((f) => f.rssMiB)),
  }
}
