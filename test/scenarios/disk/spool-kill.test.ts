import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import type { DurableQueue } from '../../../protocols/mqtt/durability.ts'
import { openSpool } from '../../../protocols/mqtt/spool/spool.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const KILLS = 24
const CHILD = path.join(import.meta.dirname, 'spool-kill-child.ts')
type Found = { readonly numbers: ReadonlySet<number>; readonly isOrdered: boolean; readonly lastSeq: number }

/** Runs the child until it has acknowledged something, a random while longer, and kills it. */
async function killed(dir: string, profile: string, start: number, afterMs: number): Promise<number[]> {
  const notes = path.join(dir, 'acknowledged')
  fs.rmSync(notes, { force: true })
  const child = spawn(process.execPath, [CHILD, dir, profile, String(start)], { stdio: 'inherit' })
  const gone = once(child, 'close')
  for (let i = 0; i < 2_000 && !(fs.existsSync(notes) && fs.statSync(notes).size > 0); i++) await pause(5)
  await pause(afterMs)
  child.kill('SIGKILL')
  assert.deepEqual(await gone, [null, 'SIGKILL'], 'the child ended by itself')
  // A last line that is cut short was not seen by anybody.
  const lines = fs.readFileSync(notes, 'utf8').split('\n').slice(0, -1)
  assert.ok(lines.length > 0, 'the child acknowledged nothing')
  return lines.map(Number)
}
const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

async function found(queue: DurableQueue): Promise<Found> {
  const numbers = new Set<number>()
  let [isOrdered, seq] = [true, queue.firstSeq - 1]
  for (;;) {
    const entries = await queue.read(seq, 1_000)
    if (entries.length === 0) return { numbers, isOrdered, lastSeq: queue.lastSeq }
    for (const entry of entries) {
      isOrdered &&= entry.seq === seq + 1
      seq = entry.seq
      numbers.add(Number(Buffer.from(entry.message.payload).toString().split(':')[0]))
    }
  }
}

async function look<T>(dir: string, at: (queues: { one: DurableQueue; two: DurableQueue }) => Promise<T>): Promise<T> {
  await using spool = await openSpool({
    openStorage: openStorageWith({ bundle: undefined }),
    path: path.join(dir, 'spool.db'),
    policy: createMqttPolicySchema().parse({}),
    clock: new SimClock(),
    metrics: new Metrics(),
    log: silentLog,
    freeBytes: () => 1e12,
  })
  assert.equal(spool.setAside, undefined)
  return await at({ one: spool.queue('one')!, two: spool.queue('two')! })
}

for (const profile of ['strict', 'balanced']) {
  test(`${profile}: of ${KILLS / 2} processes that are killed while they write, no acknowledged message is lost`, async (t) => {
    const dir = temporaryFolder(t)
    const random = seededRandom(profile.length)
    const acknowledged = new Set<number>()
    let start = 0
    for (let kill = 0; kill < KILLS / 2; kill++) {
      for (const number of await killed(dir, profile, start, random.float() * 300)) acknowledged.add(number)
      start += 1_000_000
      await look(dir, async ({ one, two }) => {
        const { numbers, isOrdered } = await found(one)
        const lost = [...acknowledged].filter((n) => !numbers.has(n))
        assert.deepEqual(lost.slice(0, 10), [], `${lost.length} of ${acknowledged.size} lost after kill ${kill + 1}`)
        assert.ok(isOrdered, 'sequence numbers are not continuous')
        // Of the other queue all but the last five were done; what is left must be its end, without a hole.
        const rest = await found(two)
        assert.ok(
          rest.isOrdered &&
            two.lastSeq - two.firstSeq + 1 === rest.numbers.size &&
            rest.numbers.size >= Math.min(5, two.lastSeq),
        )
        // Half of the time the next process starts with what this one cleaned away.
        if (kill % 2 === 1) {
          for (let seq = one.firstSeq; seq <= one.lastSeq; seq++) one.done(seq)
          acknowledged.clear()
        }
      })
    }
  })
}
