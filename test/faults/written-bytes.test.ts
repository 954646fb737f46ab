/**
 * What the status shows of flash wear, beside every write and sync that the spool makes: a page counts when it is
 * written and not waiting for the disk already. How long it waits without a sync is up to the kernel.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { buildLibrary, hasCompiler, readRecord, type Change } from './preloaded.ts'

const PAGE = 4_096
const MESSAGES = { strict: 200, balanced: 200, eco: 12 } as const
/** By the type of `stat -f`: nothing of it goes to a device. */
const TMPFS = 0x01021994
const isOnDevice = (folder: string): boolean => fs.statfsSync(folder).type !== TMPFS
/** The record would be counted, too, if it were on a device. */
const MEMORY = '/dev/shm'
const skip = !hasCompiler
  ? 'no C compiler'
  : !fs.existsSync(MEMORY) || isOnDevice(MEMORY)
    ? `${MEMORY} is not in memory`
    : !isOnDevice(os.tmpdir())
      ? 'the folder for temporary files is in memory'
      : false

for (const profile of ['strict', 'balanced', 'eco'] as const)
  test(`bytes that went to the device, profile ${profile}`, { skip, timeout: 120_000 }, (t) => {
    const { changes, counted } = run(t, profile)
    const { atOnce, atLast, atMost } = countPages(changes)
    t.diagnostic(`${counted} bytes counted; ${atOnce * PAGE} by each sync, ${atLast * PAGE} if nothing goes early`)
    // With what the file system has to write itself for a file that grows.
    const slack = 16 * PAGE + atOnce * PAGE * 0.05
    if (profile === 'strict') assert.ok(Math.abs(counted - atOnce * PAGE) <= slack)
    else assert.ok(counted >= atLast * PAGE - slack && counted <= atMost * PAGE + slack)
  })

test('a message costs less the less a profile syncs', { skip }, (t) => {
  const [strict, balanced] = (['strict', 'balanced'] as const).map((one) => run(t, one).counted)
  assert.ok(balanced! < strict!, `${balanced} and ${strict}`)
})

/** @returns what was written between opening and closing, and what the spool says of it */
function run(
  t: TestContext,
  profile: keyof typeof MESSAGES,
): { readonly changes: readonly Change[]; readonly counted: number } {
  const folder = temporaryFolder(t)
  const own = path.join(folder, 'run')
  fs.mkdirSync(own)
  const memory = fs.mkdtempSync(path.join(MEMORY, 'meshlet-'))
  t.after(() => fs.rmSync(memory, { recursive: true }))
  const record = path.join(memory, 'record')
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(import.meta.dirname, 'spool-run.ts'), own, profile, String(MESSAGES[profile])],
    {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: buildLibrary(folder), FAULT_FOLDER: own, FAULT_RECORD: record },
    },
  )
  assert.equal(status, 0, stderr)
  const all = readRecord(record)
  const said = (word: string): number =>
    all.findIndex((one) => one.name === 'acks' && one.op === 'write' && String(one.bytes) === `${word}\n`)
  const changes = all
    .slice(said('open'), said('closing'))
    .filter(({ name }) => name === 'spool.db' || name === 'spool.db-wal')
  return { changes, counted: (JSON.parse(stdout) as { writtenBytes: number }).writtenBytes }
}

/** `atOnce`: with each sync; `atLast`: each page once, however often it was written; `atMost`: with each write. */
function countPages(changes: readonly Change[]): Readonly<Record<'atOnce' | 'atLast' | 'atMost', number>> {
  const waiting = new Map<string, Set<number>>()
  const seen = new Set<string>()
  let [atOnce, atMost] = [0, 0]
  for (const change of changes) {
    const dirty = waiting.get(change.name) ?? new Set()
    waiting.set(change.name, dirty)
    if (change.op === 'sync') dirty.clear()
    if (change.op !== 'write') continue
    assert.ok(change.at !== undefined, 'SQLite says where it writes')
    const last = Math.floor((change.at + change.bytes.length - 1) / PAGE)
    for (let page = Math.floor(change.at / PAGE); page <= last; page++) {
      seen.add(`${change.name} ${page}`)
      atMost++
      if (dirty.has(page)) continue
      dirty.add(page)
      atOnce++
    }
  }
  return { atOnce, atLast: seen.size, atMost }
}
