/** What a benchmark is to the command line (main.ts): what it asks, of whom, and what it prints. */

/**
 * `cpuUs`: CPU microseconds of the subject's process per request or message, all threads, user and system. `null` where
 * nothing can be told. `config` where configuration is what is measured.
 */
export type Row = {
  readonly bench: string
  readonly case: string
  readonly subject: string
  readonly cpuUs: number
  readonly perSecond: number
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  readonly rssMiB: number
  readonly config?: ConfigCost
  /** Of several rounds, where `cpuUs` and the others are medians. */
  readonly cpuSpread?: { readonly least: number; readonly most: number; readonly rounds: number }
}
/**
 * What came and went over the control link; what the process had written to the disk, and in how many saves; the
 * longest time for which its event loop came to nothing else, and the most CPU time in one of these (`null`: it has
 * none, or it was not looked at). The first is more than the second where it waited for the disk, or for a core that
 * somebody else had.
 */
export type ConfigCost = {
  readonly inKib: number
  readonly outKib: number
  readonly diskKib: number
  readonly saves: number
  readonly lag: Lag | null
}
export type Lag = { readonly ms: number; readonly cpuMs: number }
/** No figures: the peer could not be installed, or what was measured failed. */
export type NoRow = {
  readonly bench: string
  readonly case: string
  readonly subject: string
  readonly what: 'cannot be had' | 'failed'
  readonly why: string
}

export type RunOptions = {
  readonly seconds: number
  readonly subjects: readonly string[]
  readonly cases: readonly string[]
  readonly kills: number
  readonly seed: number
  /** A bundle of meshlet's that is measured beside this one. */
  readonly before?: string
  readonly json: boolean
}

export type Option = 'seconds' | 'only' | 'kills' | 'seed' | 'before'
type Named = {
  readonly name: string
  /** The question in a few words. */
  readonly asks: string
  /** Each with what it is about. */
  readonly cases: Readonly<Record<string, string>>
  readonly usualCases?: readonly string[]
  readonly prints: string
  /** Which of the options mean something here; --case always does. */
  readonly options: readonly Option[]
}
export type PeerBench = Named & {
  readonly kind: 'peers'
  readonly subjects: readonly string[]
  rows(options: RunOptions): AsyncIterable<Row | NoRow>
}
/** Judges as well as it measures. */
export type Trial = Named & {
  readonly kind: 'trial'
  /** Where others are measured, too. */
  readonly subjects?: readonly string[]
  /** Resolves with whether all was well; prints by itself. */ run(options: RunOptions): Promise<boolean>
}
/** A file of its own that prints one line of JSON per case. */
export type Micro = {
  readonly kind: 'micro'
  readonly name: string
  readonly file: string
  readonly asks: string
  readonly prints: string
}
export type Bench = PeerBench | Trial | Micro

type Identity = Pick<Row, 'bench' | 'case' | 'subject'>
const cannotBeHad = new Map<string, string>()

/** One row, or why there is none. A peer that could not be installed is not asked for again. */
export async function rowOf<Program>(
  id: Identity,
  prepare: () => Program | Promise<Program>,
  measure: (program: Program) => Promise<Omit<Row, keyof Identity>>,
): Promise<Row | NoRow> {
  let program: Program
  try {
    const known = cannotBeHad.get(id.subject)
    if (known !== undefined) return { ...id, what: 'cannot be had', why: known }
    program = await prepare()
  } catch (err) {
    const why = messageOf(err)
    cannotBeHad.set(id.subject, why)
    return { ...id, what: 'cannot be had', why }
  }
  try {
    return { ...id, ...(await measure(program)) }
  } catch (err) {
    return { ...id, what: 'failed', why: messageOf(err) }
  }
}
export const messageOf = (err: unknown): string => (err instanceof Error ? err.message : String(err))
