/**
 * A power cut at every change that the spool makes on the disk: what was synced is there, what was written since is
 * there in any part and order, down to single sectors. What is opened after has all that was acknowledged before the
 * cut (strict), or before the log was last synced (balanced, eco), and tells what is missing.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type { Random } from '../../core/os/clock.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { openStorageWith } from '../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../model/mqtt-policy.ts'
import { openSpool } from '../../protocols/mqtt/spool/spool.ts'
import { seededRandom } from '../helpers/random.ts'
import { SimClock } from '../helpers/sim-clock.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { buildLibrary, hasCompiler, readRecord, type Change } from './preloaded.ts'

const SECTOR = 512
const openStorage = openStorageWith({ bundle: undefined })
/** Of each file what is safe, what the running system sees, and the writes since the last sync. */
type File = { readonly safe: Contents; readonly seen: Contents; pending: Placed[] }
type Placed =
  | { readonly op: 'write'; readonly at: number; readonly bytes: Buffer }
  | Extract<Change, { op: 'truncate' }>

const CUTS = 700
/** `eco` commits once a second. */
const RUNS = [
  { profile: 'strict', messages: 260, together: 1 },
  { profile: 'balanced', messages: 500, together: 1 },
  { profile: 'eco', messages: 500, together: 20 },
] as const

for (const { profile, messages, together } of RUNS)
  test(
    `${profile}: after a power cut at any change everything that was acknowledged${profile === 'strict' ? '' : ' before the last sync'} is there, in order`,
    { skip: hasCompiler ? false : 'no C compiler', timeout: 600_000 },
    async (t) => {
      const folder = temporaryFolder(t)
      const changes = recordRun(folder, [profile, `${messages}`, `${together}`])
      const seed = Number(process.env['POWER_CUT_SEED'] ?? Date.now() % 1_000_000)
      const random = seededRandom(seed)
      const files = new Map<string, File>()
      const image = path.join(folder, 'image')
      const told = new Map<string, number>()
      const every = Math.ceil(changes.filter(({ name }) => name !== 'acks').length / CUTS)
      let cuts = 0
      let safe = saidIn(files)
      for (const [i, change] of changes.entries()) {
        apply(files, change)
        if (change.op === 'sync' && change.name === 'spool.db-wal') safe = saidIn(files)
        // Each sync, and of the writes, of which there are thousands, so many that it is about CUTS.
        if (change.name === 'acks' || (change.op === 'write' && i % every > 0)) continue
        cut(files, image, random)
        const said = saidIn(files)
        const label = `seed ${seed}, change ${i} of ${changes.length} (${change.op} ${change.name})`
        const expected = profile === 'strict' ? said : { ...safe, doneUpTo: said.doneUpTo }
        const what = await check(image, expected, label)
        if (profile === 'strict') assert.match(what, /^$|ends within a transaction/, label)
        told.set(kindOf(what), (told.get(kindOf(what)) ?? 0) + 1)
        cuts++
      }
      t.diagnostic(`seed ${seed}: ${cuts} power cuts; told: ${JSON.stringify(Object.fromEntries(told))}`)
      assert.ok(cuts > 500)
    },
  )

const kindOf = (told: string): string => /ends within a transaction|is broken|has left a hole/.exec(told)?.[0] ?? told

function recordRun(folder: string, args: readonly string[]): readonly Change[] {
  const own = path.join(folder, 'run')
  fs.mkdirSync(own)
  const record = path.join(folder, 'record')
  const { status, stderr } = spawnSync(
    process.execPath,
    [path.join(import.meta.dirname, 'spool-run.ts'), own, ...args],
    {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: buildLibrary(folder), FAULT_FOLDER: own, FAULT_RECORD: record },
    },
  )
  assert.equal(status, 0, stderr)
  return readRecord(record)
}

function apply(files: Map<string, File>, change: Change): void {
  if (change.op === 'unlink') {
    files.delete(change.name)
    return
  }
  const file = files.get(change.name) ?? { safe: new Contents(), seen: new Contents(), pending: [] }
  files.set(change.name, file)
  if (change.op === 'sync') {
    for (const one of file.pending) file.safe.apply(one)
    file.pending = []
    return
  }
  const placed: Placed =
    change.op === 'write' ? { op: 'write', bytes: change.bytes, at: change.at ?? file.seen.length } : change
  file.seen.apply(placed)
  file.pending.push(placed)
}

/** Bytes that grow in place. */
class Contents {
  #room = Buffer.alloc(64 * 1024)
  length = 0
  get bytes(): Buffer {
    return this.#room.subarray(0, this.length)
  }
  apply(change: Placed): void {
    const end = change.op === 'truncate' ? change.to : Math.max(this.length, change.at + change.bytes.length)
    if (end > this.#room.length) {
      const bigger = Buffer.alloc(end * 2)
      this.#room.copy(bigger, 0, 0, this.length)
      this.#room = bigger
    }
    if (end < this.length) this.#room.fill(0, end, this.length)
    this.length = end
    if (change.op === 'write') change.bytes.copy(this.#room, change.at)
  }
}

/** Leaves in the folder what a power cut may leave now. */
function cut(files: ReadonlyMap<string, File>, folder: string, random: Random): void {
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder)
  for (const [name, { safe, pending }] of files) {
    if (name === 'acks') continue
    const fd = fs.openSync(path.join(folder, name), 'w+')
    fs.writeSync(fd, safe.bytes)
    const order = random.float() < 0.5 ? pending : pending.toSorted(() => random.float() - 0.5)
    const share = random.float()
    for (const change of order) {
      if (random.float() >= share) continue
      const part = torn(change, random)
      if (part.op === 'truncate') fs.ftruncateSync(fd, part.to)
      else if (part.bytes.length > 0) fs.writeSync(fd, part.bytes, 0, part.bytes.length, part.at)
    }
    fs.closeSync(fd)
    // It was another run of the kernel.
    const file = path.join(folder, name)
    if (name.endsWith('.used')) fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(/ \S+/, ' another'))
  }
}
function torn(change: Placed, random: Random): Placed {
  if (change.op === 'truncate' || change.bytes.length <= SECTOR || random.float() < 0.6) return change
  const sectors = Math.floor(random.float() * Math.ceil(change.bytes.length / SECTOR))
  return { ...change, bytes: change.bytes.subarray(0, sectors * SECTOR) }
}

type Said = { readonly hasQueue: boolean; readonly acked: ReadonlySet<number>; readonly doneUpTo: number }
function saidIn(files: ReadonlyMap<string, File>): Said {
  const lines = String(files.get('acks')?.seen.bytes ?? '').split('\n')
  const numbers = (word: string): number[] =>
    lines.filter((line) => line.startsWith(word)).map((line) => Number(line.slice(word.length)))
  return {
    hasQueue: lines.includes('queue'),
    acked: new Set(numbers('ack ')),
    doneUpTo: Math.max(0, ...numbers('done ')),
  }
}

/** @returns what the start has told */
async function check(folder: string, { hasQueue, acked, doneUpTo }: Said, label: string): Promise<string> {
  let spool
  try {
    spool = await openSpool({
      openStorage,
      path: path.join(folder, 'spool.db'),
      policy: createMqttPolicySchema().parse({}),
      clock: new SimClock(),
      metrics: new Metrics(),
      log: silentLog,
      freeBytes: () => 1e12,
    })
  } catch (thrown) {
    throw new Error(`${label}: the start failed`, { cause: thrown })
  }
  const queue = spool.queue('up/q')
  if (hasQueue) assert.ok(queue, `${label}: the queue is gone`)
  const found: number[] = []
  for (let after = 0; queue;) {
    const entries = await queue.read(after, 50)
    if (entries.length === 0) break
    after = entries.at(-1)!.seq
    for (const { seq, message } of entries) {
      const text = Buffer.from(message.payload).toString()
      const number = Number(text.slice(0, text.indexOf(' ')))
      assert.equal(text.length, `${number} `.length + ((number * 7919) % 30_000), label)
      assert.equal(seq, number, `${label}: the order`)
      found.push(number)
    }
  }
  const there = new Set(found)
  const lost = [...acked].filter((number) => number > doneUpTo && !there.has(number))
  assert.deepEqual(lost, [], `${label}: acknowledged messages are lost; ${spool.damage ?? 'nothing is told'}`)
  const { damage = '' } = spool
  let missing = 0
  for (let seq = doneUpTo + 1; seq <= (queue?.lastSeq ?? 0); seq++) if (!there.has(seq)) missing++
  const told = Number(/(\d+) messages are lost/.exec(damage)?.[1] ?? 0)
  assert.ok(told >= missing, `${label}: ${missing} messages are missing: ${damage}`)
  await spool[Symbol.asyncDispose]()
  return damage
}
