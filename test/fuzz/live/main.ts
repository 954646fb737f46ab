/**
 * `npm run fuzz -- [--minutes N] [--seed S] [--kinds KIND,...] [--clients N]`: whole conversations by chance with the
 * shipped agent and hub: HTTP/1 and HTTP/2 from the client's and the endpoint's side, with filters and without, MQTT, WebSocket, DNS, admin, the
 * hub's gRPC. The processes must live, no defect may be met, nothing may leak from one conversation into another, no
 * endpoint may see what policy forbids, and memory and counts must return. `--kinds` has only some of the
 * conversations, `--clients` that many at once. Exit code 0, 1 (something did not hold), 2 (wrong usage). Needs root.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { buildIfStale } from '../../../tools/build/bundles.ts'
import { readOptions } from '../../../tools/options.ts'
import { Subject, sleep } from '../../attack/subject.ts'
import { seededRandom } from '../../helpers/random.ts'
import { converse, KINDS, type Kind } from './conversations.ts'
import { startEndpoints, type Endpoints } from './endpoints.ts'
import { Dice } from './words.ts'

const MEMORY_MIB = 256
/** What a process may keep of a warm run over a short one: caches, grown tables, the heap's own slack. */
const KEPT_MIB = 48
const GAUGES = [
  'mesh_connections_open',
  'mesh_connections_starting',
  'mesh_upstream_requests_active',
  'mesh_upstream_requests_pending',
  'mesh_upstream_retries_active',
  'mesh_mqtt_connections',
  'mesh_mqtt_pending_connects',
  'mesh_dns_tcp_connections',
  'mesh_memory_held_bytes',
] as const

const USAGE = `npm run fuzz -- [--minutes N] [--seed WHOLE NUMBER] [--kinds KIND,...] [--clients N]
KIND is one of ${[...new Set(KINDS)].join(', ')}`
const { values } = readOptions(
  {
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      kinds: { type: 'string', default: '' },
      clients: { type: 'string', default: '24' },
    },
  },
  USAGE,
)
const [minutes, seed, clients] = [Number(values.minutes), Number(values.seed), Number(values.clients)]
const named = values.kinds === '' ? [] : values.kinds.split(',')
const kinds: readonly Kind[] = named.length === 0 ? KINDS : KINDS.filter((kind) => named.includes(kind))
const isKnown = named.every((name) => KINDS.some((kind) => kind === name))
if (!(minutes > 0 && Number.isInteger(seed) && Number.isInteger(clients) && clients > 0 && isKnown)) {
  console.error(USAGE)
  process.exit(2)
}
if (!buildIfStale()) process.exit(1)

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-fuzz-'))
try {
  process.exitCode = (await fuzz()) ? 0 : 1
} finally {
  fs.rmSync(folder, { recursive: true })
}

async function fuzz(): Promise<boolean> {
  await using subject = await Subject.start(folder, MEMORY_MIB * 1024 * 1024, true)
  using endpoints = startEndpoints(subject.ports.odd, subject.ports.odd2, new Dice(seededRandom(seed + 1)))
  console.log(`fuzz: seed ${seed}, ${minutes} minutes, ${clients} clients`)
  const wrong: string[] = []
  const warmMs = performance.now() + Math.min(60_000, minutes * 30_000)
  const endMs = performance.now() + minutes * 60_000
  let id = 0
  let warm: number | undefined
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs && subject.alive && wrong.length === 0) {
      const mine = ++id
      const dice = new Dice(seededRandom(seed * 1_000_003 + mine))
      const kind = kinds[mine % kinds.length]!
      const marks = await converse(kind, dice, mine, subject.ports)
      marks.delete(mine)
      marks.delete(0)
      if (marks.size > 0) wrong.push(`conversation ${mine} (${kind}) received what belongs to ${[...marks].join(', ')}`)
      if (warm === undefined && performance.now() > warmMs) warm = rssMiB(subject)
    }
  }
  await Promise.all(Array.from({ length: clients }, worker))
  if (!subject.alive) wrong.push(`a process ended:\n${subject.log.slice(-4_000)}`)
  else wrong.push(...(await afterwards(subject, warm ?? rssMiB(subject))))
  wrong.push(...seenBy(endpoints))
  console.log(`fuzz: ${id} conversations, ${wrong.length === 0 ? 'everything held' : `seed ${seed}:`}`)
  for (const what of wrong) console.log(`  ! ${what}`)
  return wrong.length === 0
}

function seenBy({ forbidden, mixed }: Endpoints): string[] {
  return [
    ...forbidden.slice(0, 3).map((head) => `an endpoint saw what policy forbids:\n${head}`),
    ...mixed.slice(0, 3).map((head) => `an endpoint saw two conversations in one message:\n${head}`),
  ]
}

/** Once everybody has left: counts at zero, memory back, no defect. */
async function afterwards(subject: Subject, warmMiB: number): Promise<string[]> {
  const figures = async (): Promise<Map<string, number>> => {
    const text = await (await fetch(`http://127.0.0.1:${subject.ports.admin}/stats/prometheus`)).text()
    const sums = new Map<string, number>()
    for (const [, name, value] of text.matchAll(/^(mesh_\w+)(?:\{[^}]*\})? (\S+)$/gm))
      sums.set(name!, (sums.get(name!) ?? 0) + Number(value))
    return sums
  }
  const returned = async (): Promise<string[]> => {
    const now = await figures()
    return GAUGES.filter((name) => (now.get(name) ?? 0) !== 0).map(
      (name) => `${name} is ${now.get(name)} after all have left`,
    )
  }
  let left = await returned()
  for (let i = 0; i < 30 && left.length > 0; i++) {
    await sleep(500)
    left = await returned()
  }
  let rss = rssMiB(subject)
  for (let i = 0; i < 20 && rss > warmMiB + KEPT_MIB; i++) {
    await sleep(1_000)
    rss = rssMiB(subject)
  }
  console.log(`fuzz: memory ${warmMiB.toFixed(0)} MiB when warm, ${rss.toFixed(0)} MiB at the end`)
  const defects = (await figures()).get('mesh_defects_total') ?? 0
  return [
    ...left,
    ...(rss > warmMiB + KEPT_MIB
      ? [`memory did not return: ${rss.toFixed(0)} MiB, ${warmMiB.toFixed(0)} MiB when warm`]
      : []),
    ...(defects > 0
      ? [
          `${defects} defects were met:\n${subject.log
            .split('\n')
            .filter((l) => l.includes('MESH_INTERNAL'))
            .slice(-5)
            .join('\n')}`,
        ]
      : []),
  ]
}

function rssMiB({ agent, hub }: Subject): number {
  return Math.max(
    ...[agent, hub].map(
      ({ pid }) => Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024,
    ),
  )
}
