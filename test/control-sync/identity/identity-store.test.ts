/**
 * The process killed, or the power cut, between any two system calls of what the identity writes: it starts, and has
 * the last good identity.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createLog } from '../../../core/log.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { createSealer, type Sealer } from '../../../core/pki/sealing.ts'
import { IdentityStore } from '../../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import type { Identity } from '../../../model/identity.ts'
import { CrashFs, Stopped } from '../../helpers/disk/crash-disk.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { testCa } from '../../helpers/test-ca.ts'

const DAY_MS = 86_400_000
const ca = testCa()
const [one, two, three] = [ca.issue('edge', 'a'), ca.issue('edge', 'b'), ca.issue('edge', 'c')] as const
const log = createLog('silent')
const storeOn = (disk: Disk, sealer?: Sealer): IdentityStore =>
  new IdentityStore({ disk, clock: new SimClock(), log, stateFolder: '/state', sealer })

/** Every state that a stop somewhere in `work` may leave behind; `done`: stopped after the last call. */
function* crashes(
  before: () => CrashFs,
  work: (disk: Disk) => void,
): Generator<{ fs: CrashFs; how: string; done: boolean }> {
  for (let calls = 0; ; calls++) {
    const fs = before()
    fs.stopAfter(calls)
    try {
      work(fs.disk)
    } catch (err) {
      if (!(err instanceof Stopped) && !((err as Error).cause instanceof Stopped)) throw err
    }
    const done = !fs.stopped
    yield { fs: fs.killed(), how: `killed after ${calls} calls`, done }
    for (const [i, cut] of fs.powerCuts().entries()) yield { fs: cut, how: `power cut ${i} after ${calls} calls`, done }
    if (done) return
  }
}
function made(work: (disk: Disk) => void): () => CrashFs {
  return () => {
    const fs = new CrashFs()
    fs.disk.makeFolder('/state', 0o700)
    work(fs.disk)
    return fs
  }
}
/** Starts from what is there, then goes on as if nothing had been. */
function startOn(fs: CrashFs, how: string, sealer?: Sealer): string | undefined {
  const found = storeOn(fs.disk, sealer).load()
  assert.ok(!fs.list().some((n) => n.includes('damaged')), `${how}: nothing was half-written`)
  storeOn(fs.disk, sealer).save(three)
  assert.equal(storeOn(fs.disk, sealer).load()?.serial, three.serial, how)
  assert.equal(fs.modeOf('/state/identity/identity.json'), 0o600, how)
  return found?.serial
}

for (const [kind, sealer] of [
  ['plain', undefined],
  ['sealed', createSealer(randomBytes(32), 'key')],
] as const) {
  test(`the first identity, ${kind}: none or the whole, and the whole once it was said to be saved`, () => {
    const seen = new Set<string | undefined>()
    for (const { fs, how, done } of crashes(
      made(() => {}),
      (disk) => storeOn(disk, sealer).save(one),
    )) {
      const serial = startOn(fs, how, sealer)
      seen.add(serial)
      assert.ok(serial === one.serial || (serial === undefined && !done), how)
    }
    assert.equal(seen.size, 2, 'both were met')
  })
  test(`a renewal, ${kind}: the old or the new, never none, and the new once it was said to be saved`, () => {
    const seen = new Set<string | undefined>()
    let states = 0
    for (const { fs, how, done } of crashes(
      made((disk) => storeOn(disk, sealer).save(one)),
      (disk) => storeOn(disk, sealer).save(two),
    )) {
      const serial = startOn(fs, how, sealer)
      seen.add(serial)
      states++
      assert.ok(serial === two.serial || (serial === one.serial && !done), how)
    }
    assert.deepEqual(seen, new Set([one.serial, two.serial]))
    assert.ok(states > 20)
  })
}

test('a plain identity that is being sealed stays readable at every moment', () => {
  const sealer = createSealer(randomBytes(32), 'key')
  for (const { fs, how } of crashes(
    made((disk) => storeOn(disk).save(one)),
    (disk) => {
      storeOn(disk, sealer).load()
    },
  ))
    assert.equal(startOn(fs, how, sealer), one.serial)
})

test('a damaged identity that is being set aside is not lost, and does not keep the agent from starting', () => {
  const bad = Buffer.from('{"keyPem":"-----BEGIN')
  const damaged = made((disk) => {
    disk.makeFolder('/state/identity', 0o700)
    disk.replace('/state/identity/identity.json', bad, 0o600)
  })
  for (const { fs, how } of crashes(damaged, (disk) => {
    storeOn(disk).load()
  })) {
    assert.equal(storeOn(fs.disk).load(), undefined, how)
    const kept = fs.list().filter((n) => n.includes('identity.json.damaged'))
    assert.deepEqual(
      kept.map((n) => fs.disk.read(n)),
      [bad],
      how,
    )
  }
})

test('another key, or none, keeps the file and says which setting is meant', () => {
  const fs = made((disk) => storeOn(disk, createSealer(randomBytes(32), 'key')).save(one))()
  const before = fs.disk.read('/state/identity/identity.json')
  for (const sealer of [undefined, createSealer(randomBytes(32), 'key')])
    assert.throws(() => storeOn(fs.disk, sealer).load(), {
      code: 'MESH_STATE_LOCKED',
      message: /identity\.json.*(encryptionKey|another key)/,
    })
  assert.deepEqual(fs.disk.read('/state/identity/identity.json'), before)
  assert.ok(!before!.includes('PRIVATE KEY'))
})

test('the time that has been reached: never later than it was, nor earlier than the build, whatever was being written', () => {
  const builtAtMs = one.notBeforeMs - DAY_MS
  const floorOn = (disk: Disk, clock: SimClock): TimeFloor =>
    new TimeFloor({ disk, clock, log, stateFolder: '/state', builtAtMs })
  const reached =
    (identity: Identity) =>
    (disk: Disk): void => {
      const floor = floorOn(disk, new SimClock(0))
      floor.seen(identity.notBeforeMs)
      floor.tick()
    }
  const older = { ...one, notBeforeMs: one.notBeforeMs + DAY_MS }
  const newer = { ...one, notBeforeMs: one.notBeforeMs + 3 * DAY_MS }
  for (const { fs, how, done } of crashes(made(reached(older)), reached(newer))) {
    const { floorMs } = floorOn(fs.disk, new SimClock(0))
    assert.ok(floorMs === newer.notBeforeMs || (floorMs === older.notBeforeMs && !done), how)
  }
  const nonsense = made((disk) => {
    disk.makeFolder('/state/identity', 0o700)
    disk.replace('/state/identity/time-floor.json', '{"notBefore":"9999-01-01"}', 0o600)
  })()
  assert.equal(floorOn(nonsense.disk, new SimClock(0)).floorMs, builtAtMs)
})
