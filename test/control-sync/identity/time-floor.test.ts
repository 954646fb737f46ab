import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Disk } from '../../../core/os/disk.ts'
import { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const BUILT = Date.parse('2026-01-01T00:00:00Z')
const DAY_MS = 86_400_000

/** One file, and how often it was written. */
function rig(file?: string) {
  const stored = { file, writes: 0, isFull: false }
  const disk = {
    makeFolder: () => undefined,
    read: () => (stored.file === undefined ? undefined : Buffer.from(stored.file)),
    replace: (_file: string, text: string) => {
      stored.writes++
      if (stored.isFull) throw new MeshError('MESH_STORAGE_FULL', 'no room')
      stored.file = text
    },
  } as unknown as Disk
  const clock = new SimClock(BUILT + DAY_MS)
  const make = (builtAtMs: number | undefined = BUILT): TimeFloor =>
    new TimeFloor({ disk, clock, log: silentLog, stateFolder: '/state', builtAtMs })
  return { clock, stored, make }
}
const iso = (ms: number): string => JSON.stringify({ version: 1, notBefore: new Date(ms).toISOString() })

test('a right clock is what certificates are checked by', async () => {
  const { clock, make } = rig()
  const floor = make()
  assert.deepEqual([floor.clockIsWrong, floor.nowMs()], [false, clock.wallMs()])
})

test('a clock before the build is wrong: the floor counts, and moves on with the time that passes', async () => {
  const { clock, make } = rig()
  clock.setWallMs(0)
  const floor = make()
  assert.deepEqual([floor.clockIsWrong, floor.nowMs()], [true, BUILT])
  await clock.advance(90_000)
  assert.equal(floor.nowMs(), BUILT + 90_000)
})

test('a minute behind what was signed is within what clocks of CAs differ by', () => {
  const { clock, make } = rig()
  const floor = make()
  floor.seen(clock.wallMs() + 60_000)
  assert.equal(floor.clockIsWrong, false)
  floor.seen(clock.wallMs() + 60_001)
  assert.equal(floor.clockIsWrong, true)
})

test('it never goes back, and whoever waits hears of a step above a minute', () => {
  const { clock, make } = rig()
  const floor = make()
  let raised = 0
  floor.onRaise(() => {
    raised++
  })
  floor.seen(BUILT - DAY_MS)
  floor.seen(BUILT + 30_000)
  assert.deepEqual([floor.floorMs, raised], [BUILT + 30_000, 0])
  floor.seen(BUILT + 3 * DAY_MS)
  floor.seen(BUILT + DAY_MS)
  assert.deepEqual([floor.floorMs, raised], [BUILT + 3 * DAY_MS, 1])
  assert.ok(clock.wallMs() < floor.nowMs())
})

test('what was on disk counts, unless it is nonsense or fifty years after the build', () => {
  for (const [file, want] of [
    [iso(BUILT + 9 * DAY_MS), BUILT + 9 * DAY_MS],
    [iso(BUILT - 9 * DAY_MS), BUILT],
    [iso(BUILT + 60 * 365 * DAY_MS), BUILT],
    ['{', BUILT],
    ['null', BUILT],
    ['{"notBefore":"soon"}', BUILT],
  ] as const)
    assert.equal(rig(file).make().floorMs, want, file)
})

test('it is written once a day, at the end after an hour, and a full disk is not asked at every look', async () => {
  const { clock, stored, make } = rig(iso(BUILT))
  const floor = make()
  await clock.advance(DAY_MS - 1)
  floor.tick()
  assert.equal(stored.writes, 0)
  await clock.advance(1)
  floor.tick()
  floor.tick()
  assert.deepEqual([stored.writes, stored.file], [1, iso(BUILT + DAY_MS)])
  await clock.advance(3_599_999)
  floor[Symbol.dispose]()
  assert.equal(stored.writes, 1)
  await clock.advance(1)
  floor[Symbol.dispose]()
  assert.deepEqual([stored.writes, stored.file], [2, iso(BUILT + DAY_MS + 3_600_000)])
  stored.isFull = true
  await clock.advance(DAY_MS)
  floor.tick()
  floor.tick()
  assert.equal(stored.writes, 3)
})
