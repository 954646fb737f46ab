/**
 * Subjects of one case by turns: all are started, then each has a round, again and again, so that what changes on the
 * machine meanwhile meets all of them.
 */
import { messageOf, type NoRow, type Row } from './bench.ts'

export type Figures = Pick<Row, 'cpuUs' | 'perSecond' | 'p50Ms' | 'p99Ms' | 'rssMiB'>
/** A subject that waits for its next round; the others have theirs between. */
export type Begun = AsyncDisposable & { round(seconds: number): Promise<Figures> }
export type Contender = {
  readonly name: string
  /** Throws where it cannot be had. */
  find(): unknown
  begin(): Promise<Begun>
}
export type Case = Pick<Row, 'bench' | 'case'> & { readonly rounds: number; readonly secondsPerRound: number }

type Turn = {
  readonly contender: Contender
  readonly figures: Figures[]
  begun?: Begun
  problem?: Pick<NoRow, 'what' | 'why'>
}

/** @returns the medians of each contender's rounds */
export async function compareByTurns(
  { bench, case: name, rounds, secondsPerRound }: Case,
  contenders: readonly Contender[],
): Promise<(Row | NoRow)[]> {
  await using held = new AsyncDisposableStack()
  const turns: Turn[] = contenders.map((contender) => ({ contender, figures: [] }))
  for (const turn of turns)
    await attempt(turn, 'cannot be had', async () => {
      await turn.contender.find()
      await attempt(turn, 'failed', async () => {
        turn.begun = held.use(await turn.contender.begin())
      })
    })
  for (let round = 0; round < rounds; round++)
    for (const turn of turns)
      if (turn.begun && !turn.problem)
        await attempt(turn, 'failed', async () => {
          turn.figures.push(await turn.begun!.round(secondsPerRound))
        })
  return turns.map(({ contender, figures, problem }) => {
    const id = { bench, case: name, subject: contender.name }
    return problem ? { ...id, ...problem } : { ...id, ...findMedians(figures) }
  })
}

async function attempt(turn: Turn, what: NoRow['what'], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (err) {
    turn.problem ??= { what, why: messageOf(err) }
  }
}

function findMedians(all: readonly Figures[]): Figures & Pick<Row, 'cpuSpread'> {
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
