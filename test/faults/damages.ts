/**
 * A spool of known content, damage by a seed, and a ledger: what is not delivered has to be told as lost, and nothing is
 * delivered that was not written.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Random } from '../../core/os/clock.ts'
import { createLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { openStorageWith } from '../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../model/mqtt-policy.ts'
import type { DurableQueue, Kept, StoredMessage } from '../../protocols/mqtt/durability.ts'
import { openSpool, type Spool } from '../../protocols/mqtt/spool/spool.ts'
import { seededRandom } from '../helpers/random.ts'
import { SimClock } from '../helpers/sim-clock.ts'

const PAGE = 4096
const SESSIONS = 24
const ROUNDS = 60
export type Profile = 'strict' | 'balanced' | 'eco'
/** How the agent ended: in order, or by a kill that left a log. */
export type End = 'closed' | 'killed'

const openStorage = openStorageWith({ bundle: undefined })
const UP = 'up/cloud'

/** What the file holds: by queue the texts that are not done, and those that ever were. */
export type Ledger = {
  readonly open: ReadonlyMap<string, ReadonlySet<string>>
  readonly ever: ReadonlyMap<string, ReadonlySet<string>>
}
export type Image = { readonly file: string; readonly profile: Profile; readonly end: End; readonly ledger: Ledger }

async function open(file: string, profile: Profile, clock: SimClock, events: string[] = []) {
  const metrics = new Metrics()
  const write = (line: string): void => void events.push(line)
  const spool = await openSpool({
    openStorage,
    path: file,
    policy: createMqttPolicySchema().parse({ spool: { profile } }),
    clock,
    metrics,
    log: createLog('info', { write }),
    freeBytes: () => 1e12,
  })
  return { spool, metrics }
}
const keptOf = (clientId: string): Kept => ({
  clientId,
  toStored: () => ({
    clientId,
    protocolVersion: 5,
    owner: undefined,
    address: `address of ${clientId}`,
    expirySec: 3600,
    disconnectedAtMs: undefined,
    pendingWill: undefined,
  }),
})
const clientOf = (i: number): string => `client-${i}`
const filterOf = (i: number, n: number): string => `filter/${i}/${n}`

/** Sessions and a route, messages small and large, alone and shared, some of them done. */
export async function makeImage(folder: string, profile: Profile, end: End): Promise<Image> {
  const made = path.join(folder, 'made.db')
  const clock = new SimClock()
  const random = seededRandom(7)
  // A commit of `eco` waits for the clock, so the file is made as `balanced` makes it: they differ in time only.
  const { spool } = await open(made, profile === 'eco' ? 'balanced' : profile, clock)
  const queues: DurableQueue[] = [await spool.createQueue(UP)]
  for (let i = 0; i < SESSIONS; i++) {
    const kept = keptOf(clientOf(i))
    queues.push(await spool.createQueue(`session/${kept.clientId}`, kept))
    const options = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    const filters = [0, 1, 2].map((n) => ({ ...options, filter: filterOf(i, n), subscriptionId: n + 1 }))
    await spool.saveSubscriptions(kept, filters, [])
    await spool.saveRetained(`retained/${i}`, messageOf(`retained ${i} ${'r'.repeat(600)}`, `retained/${i}`))
    await spool.append(messageOf('inbound'), [], { clientId: kept.clientId, packetId: i + 1, session: kept })
  }
  const [ever, done] = [new Map<string, Set<string>>(), new Map<string, Set<string>>()]
  for (const { name } of queues) {
    ever.set(name, new Set())
    done.set(name, new Set())
  }
  for (let round = 0; round < ROUNDS; round++) {
    const appends = queues.flatMap((queue, i) => {
      const text = `${round}/${i} ${'x'.repeat(Math.floor(random.float() ** 4 * 6_000))}`
      if (random.float() < 0.4) return []
      const to = random.float() < 0.1 ? queues : [queue]
      for (const one of to) ever.get(one.name)!.add(text)
      return [spool.append(messageOf(text), to)]
    })
    await Promise.all(appends)
    for (const queue of queues) {
      if (random.float() < 0.7 || round < 10) continue
      for (const { seq, message } of await queue.read(0, 3)) {
        if (random.float() < 0.3) continue
        queue.done(seq)
        done.get(queue.name)!.add(Buffer.from(message.payload).toString())
      }
    }
    if (round % 10 === 9) await clock.advance(300)
  }
  await clock.advance(300)
  await spool.saveRetained('last', messageOf('last', 'last'))
  const file = path.join(folder, 'image.db')
  if (end === 'closed') await spool[Symbol.asyncDispose]()
  for (const suffix of ['', '-wal', '.used'])
    if (fs.existsSync(made + suffix)) fs.copyFileSync(made + suffix, file + suffix)
  if (end === 'killed') await spool[Symbol.asyncDispose]()
  const left = new Map([...ever].map(([name, texts]) => [name, texts.difference(done.get(name)!)]))
  return { file, profile, end, ledger: { open: left, ever } }
}
function messageOf(text: string, topic = 't'): StoredMessage {
  const payload = Buffer.from(text)
  return { topic, payload, qos: 1, retain: false, properties: Buffer.alloc(0), expiresAtMs: undefined }
}

/** @returns a sentence of what was done, or undefined when the file has nothing of the kind */
type Damage = (file: string, random: Random) => string | undefined
const sizeOf = (file: string): number => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0
const overwritePage =
  (suffix: string, fill: (random: Random) => Buffer): Damage =>
  (file, random) => {
    const pages = Math.floor(sizeOf(file + suffix) / PAGE)
    if (pages === 0) return undefined
    const page = Math.floor(random.float() * pages)
    const fd = fs.openSync(file + suffix, 'r+')
    fs.writeSync(fd, fill(random), 0, PAGE, page * PAGE)
    fs.closeSync(fd)
    return `page ${page} of ${pages}`
  }
const flip =
  (suffix: string): Damage =>
  (file, random) => {
    const size = sizeOf(file + suffix)
    if (size === 0) return undefined
    const bytes = fs.readFileSync(file + suffix)
    const at = Math.floor(random.float() * size)
    bytes[at]! ^= 1 << Math.floor(random.float() * 8)
    fs.writeFileSync(file + suffix, bytes)
    return `byte ${at} of ${size}`
  }
const truncate =
  (suffix: string): Damage =>
  (file, random) => {
    const size = sizeOf(file + suffix)
    if (size === 0) return undefined
    const to = Math.floor(random.float() * size)
    fs.truncateSync(file + suffix, to)
    return `${to} of ${size} bytes left`
  }
const zeroTail =
  (suffix: string): Damage =>
  (file, random) => {
    const size = sizeOf(file + suffix)
    if (size === 0) return undefined
    const from = Math.floor(random.float() * size)
    fs.truncateSync(file + suffix, from)
    fs.truncateSync(file + suffix, size)
    return `zeros from ${from} of ${size}`
  }
const lose =
  (suffix: string): Damage =>
  (file) => {
    if (sizeOf(file + suffix) === 0) return undefined
    fs.rmSync(file + suffix)
    return 'gone'
  }
const empty =
  (suffix: string): Damage =>
  (file) => {
    if (sizeOf(file + suffix) === 0) return undefined
    fs.truncateSync(file + suffix)
    return 'empty'
  }
const randomBytes = (random: Random): Buffer =>
  Buffer.from(Array.from({ length: PAGE }, () => Math.floor(random.float() * 256)))

export const DAMAGES: Readonly<Record<string, Damage>> = {
  'a page of zeros': overwritePage('', () => Buffer.alloc(PAGE)),
  'a page of garbage': overwritePage('', randomBytes),
  'a flipped bit': flip(''),
  'another flipped bit': flip(''),
  'a file that is cut': truncate(''),
  'a file that ends in zeros': zeroTail(''),
  'a file that is gone': lose(''),
  'an empty file': empty(''),
  'a flipped bit in the log': flip('-wal'),
  'another flipped bit in the log': flip('-wal'),
  'a page of zeros in the log': overwritePage('-wal', () => Buffer.alloc(PAGE)),
  'a page of garbage in the log': overwritePage('-wal', randomBytes),
  'a log that is cut': truncate('-wal'),
  'a log that ends in zeros': zeroTail('-wal'),
  'a log that is gone': lose('-wal'),
  'an empty log': empty('-wal'),
}

export type Outcome = {
  readonly label: string
  readonly missing: number
  readonly told: number
  /** What else is missing: sessions, subscriptions, retained messages, QoS 2 ids. */
  readonly rowsMissing: number
  readonly text: string | undefined
}

/** Damages a copy, starts from it, and holds what is there against the ledger. Throws where anything is silent. */
export async function damaged(image: Image, kind: string, seed: number, folder: string): Promise<Outcome | undefined> {
  const copy = path.join(folder, `spool-${seed}.db`)
  for (const suffix of ['', '-wal', '.used'])
    if (fs.existsSync(image.file + suffix)) fs.copyFileSync(image.file + suffix, copy + suffix)
  const what = DAMAGES[kind]!(copy, seededRandom(seed))
  if (what === undefined) return undefined
  const label = `seed ${seed}, ${image.profile}, ${image.end}, ${kind}: ${what}`
  const events: string[] = []
  let opened
  try {
    opened = await open(copy, image.profile, new SimClock(), events)
  } catch (thrown) {
    throw new Error(`${label}: the start failed`, { cause: thrown })
  }
  const { spool, metrics } = opened
  const missing = await missingMessages(spool, image.ledger, label)
  const rowsMissing = missingRows(spool)
  const text = spool.damage
  const told = metrics.total('mesh_mqtt_spool_lost_messages_total')
  await spool[Symbol.asyncDispose]()
  for (const name of fs.readdirSync(folder))
    if (name.startsWith(`spool-${seed}.db`)) fs.rmSync(path.join(folder, name), { force: true })

  if (missing + rowsMissing > 0) {
    assert.ok(text !== undefined, `${label}: ${missing} messages and ${rowsMissing} rows are missing without a word`)
    assert.ok(
      events.some((line) => line.includes('MESH_STORAGE_DAMAGED')),
      `${label}: the log says nothing`,
    )
  }
  assert.ok(told <= missing, `${label}: ${told} told as lost, ${missing} are missing: ${text}`)
  // Where a page or the log is gone as a whole nobody knows how much was on it; else the figures are the same.
  if (!/pages hold nothing|the log of|is gone or empty/.test(text ?? ''))
    assert.equal(told, missing, `${label}: told ${told}, missing ${missing}: ${text}`)
  return { label, missing, told, rowsMissing, text }
}

async function missingMessages(spool: Spool, { open: left, ever }: Ledger, label: string): Promise<number> {
  let missing = 0
  for (const [name, texts] of left) {
    const isThere = name === UP || spool.sessions.has(name.slice('session/'.length))
    const queue = isThere ? spool.queue(name) : undefined
    const found = new Set<string>()
    for (let after = 0; queue;) {
      const entries = await queue.read(after, 50)
      for (const { message } of entries) {
        const text = Buffer.from(message.payload).toString()
        assert.ok(ever.get(name)!.has(text), `${label}: ${name} gives what was never written: ${text.slice(0, 50)}`)
        found.add(text)
      }
      if (entries.length === 0) break
      after = entries.at(-1)!.seq
    }
    missing += texts.difference(found).size
  }
  return missing
}
function missingRows(spool: Spool): number {
  let missing = spool.retained.has('last') ? 0 : 1
  for (let i = 0; i < SESSIONS; i++) {
    const session = spool.sessions.get(clientOf(i))
    const filters = new Set(session?.subscriptions.map(({ filter }) => filter))
    if (!session) missing++
    for (const n of [0, 1, 2]) if (!filters.has(filterOf(i, n))) missing++
    if (!spool.retained.has(`retained/${i}`)) missing++
    if (!spool.inbound(clientOf(i)).has(i + 1)) missing++
  }
  return missing
}

/** As many damages as `count`, all kinds in turn, over files that were closed and that a kill left. */
export async function manyDamages(folder: string, count: number, firstSeed: number): Promise<readonly Outcome[]> {
  const images: Image[] = []
  for (const end of ['closed', 'killed'] as const)
    for (const profile of ['strict', 'balanced'] as const) {
      const own = path.join(folder, `${end}-${profile}`)
      fs.mkdirSync(own)
      images.push(await makeImage(own, profile, end))
    }
  const kinds = Object.keys(DAMAGES)
  const outcomes: Outcome[] = []
  for (let seed = firstSeed; outcomes.length < count; seed++) {
    const image = images[Math.floor(seed / kinds.length) % images.length]!
    const outcome = await damaged(image, kinds[seed % kinds.length]!, seed, folder)
    if (outcome) outcomes.push(outcome)
  }
  return outcomes
}
