/**
 * `npm run bench -- kill`: how many acknowledged messages are lost when the shipped agent is killed again and again?
 * None may be.
 */
import type { RunOptions, Trial } from '../bench.ts'
import type { Count } from './kill/ledger.ts'
import type { KillOptions, KillResult } from './kill/run.ts'
import { table } from '../table.ts'

const PROFILES: Readonly<Record<KillOptions['profile'], string>> = {
  strict: 'acknowledged after the fsync',
  balanced: 'acknowledged after the write; survives a kill, not a power cut',
  eco: 'as balanced, but a second later; kills come less often',
}

export const killTrial: Trial = {
  kind: 'trial',
  name: 'kill',
  asks: 'how many acknowledged MQTT messages are lost when the agent is killed with SIGKILL, at random moments, about one a second?',
  cases: PROFILES,
  usualCases: ['strict'],
  prints:
    'for each subscriber and QoS what was acknowledged, delivered, lost, delivered twice and out of order; fails when anything was lost, QoS 2 came twice, or else is wrong',
  options: ['kills', 'seed'],
  run,
}

async function run({ cases, kills, seed, json }: RunOptions): Promise<boolean> {
  let isWell = true
  for (const profile of Object.keys(PROFILES) as KillOptions['profile'][]) {
    if (!cases.includes(profile)) continue
    const result = await once({ kills, seed, profile })
    const wrong = whatIsWrong(result)
    isWell &&= wrong.length === 0
    console.log(json ? JSON.stringify(line(result)) : text(result, wrong))
  }
  return isWell
}

async function once(options: KillOptions): Promise<KillResult> {
  const { killRun } = await import('./kill/run.ts')
  const cleanUp: (() => void | Promise<void>)[] = []
  console.error(`seed ${options.seed}: ${options.kills} kills, profile ${options.profile}`)
  try {
    return await killRun(
      {
        after: (fn) => {
          cleanUp.unshift(fn)
        },
      },
      options,
      (done) => {
        if (done % 10 === 0) console.error(`${done} kills`)
      },
    )
  } finally {
    for (const fn of cleanUp) await fn()
  }
}

/** Empty when everything that was promised was kept. */
export function whatIsWrong({
  counts,
  retained,
  sessionsLost,
  refused,
  violations,
  left,
}: KillResult): readonly string[] {
  const sum = (of: (c: Count) => number): number => counts.reduce((all, c) => all + of(c), 0)
  const bad = (
    [
      [sum((c) => c.lost), 'deliveries of acknowledged messages are missing'],
      [sum((c) => (c.qos === 2 ? c.duplicates : 0)), 'QoS 2 messages came once more'],
      [sum((c) => c.outOfOrder), 'messages came out of order'],
      [sum((c) => c.damaged), 'messages are not what was sent'],
      [sessionsLost, 'sessions were forgotten'],
      [refused, 'messages were refused'],
      [left, 'messages are left in the spool'],
    ] as const
  )
    .filter(([n]) => n !== 0)
    .map(([n, what]) => `${n} ${what}`)
  return [...bad, ...retained.wrong, ...violations.slice(0, 10)]
}

/** `acknowledged` counts messages, `delivered` those of them that every subscriber has got. */
function line({ counts, retained, violations, ...r }: KillResult): object {
  const of = (qos: 1 | 2): readonly Count[] => counts.filter((c) => c.qos === qos)
  const most = (what: 'lost' | 'acknowledged'): number =>
    ([1, 2] as const).reduce((sum, qos) => sum + Math.max(...of(qos).map((c) => c[what])), 0)
  const all = (what: 'duplicates' | 'outOfOrder' | 'damaged', list = counts): number =>
    list.reduce((sum, c) => sum + c[what], 0)
  return {
    bench: 'kill',
    case: r.profile,
    subject: 'meshlet',
    seed: r.seed,
    kills: r.kills,
    seconds: Number(r.seconds.toFixed(1)),
    acknowledged: most('acknowledged'),
    delivered: most('acknowledged') - most('lost'),
    lost: most('lost'),
    duplicatesQos1: all('duplicates', of(1)),
    duplicatesQos2: all('duplicates', of(2)),
    outOfOrder: all('outOfOrder'),
    damaged: all('damaged'),
    retainedLooked: retained.looked,
    retainedWrong: retained.wrong.length,
    sessionsLost: r.sessionsLost,
    refused: r.refused,
    violations: violations.length,
    left: r.left,
  }
}

function text(r: KillResult, wrong: readonly string[]): string {
  const head = ['subscriber', 'QoS', 'acknowledged', 'delivered', 'lost', 'twice', 'out of order']
  const body = r.counts.map((c) => [
    c.subscriber,
    String(c.qos),
    ...[c.acknowledged, c.delivered, c.lost, c.duplicates, c.outOfOrder].map(String),
  ])
  return `${table(head, body, 1)}\n${r.kills} kills in ${r.seconds.toFixed(1)} s, profile ${r.profile}, seed ${r.seed}; retained messages looked at ${r.retained.looked} times\n${
    wrong.length === 0
      ? 'nothing was lost, QoS 2 came once, the order held'
      : wrong.map((w) => `WRONG: ${w}`).join('\n')
  }`
}
