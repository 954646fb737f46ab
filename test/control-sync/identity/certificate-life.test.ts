/**
 * The certificate through the years, by a clock that may be wrong. `trueMs` is the time of the CA and of everybody
 * else.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../core/log.ts'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import { CertManager, type CertManagerOptions } from '../../../control-sync/identity/cert-manager.ts'
import { IdentityStore } from '../../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import { Trust } from '../../../control-sync/identity/trust.ts'
import type { Disk } from '../../../core/os/disk.ts'
import { CrashFs } from '../../helpers/disk/crash-disk.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { testCa } from '../../helpers/test-ca.ts'

const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]
const log = createLog('silent')
const ca = testCa()

class Device {
  readonly fs = new CrashFs()
  disk: Disk
  #trueStartMs = Math.floor(Date.now() / 1000) * 1000
  clock = new SimClock(this.#trueStartMs)
  requests: { refused: boolean; serial: string | undefined }[] = []
  link: 'up' | 'down' = 'up'
  /** What the CA thinks of a token; a valid certificate always does. */
  token: 'good' | 'bad' = 'bad'
  manager!: CertManager
  floor!: TimeFloor
  readonly lifeSec: number
  readonly builtAtMs: number
  constructor(lifeSec: number) {
    this.lifeSec = lifeSec
    this.builtAtMs = this.trueMs - 10 * DAY
    this.fs.disk.makeFolder('/state', 0o700)
    this.disk = this.fs.disk
  }

  start(over: Partial<CertManagerOptions> = {}): CertManager {
    const { clock, disk } = this
    this.floor = new TimeFloor({ disk, clock, log, stateFolder: '/state', builtAtMs: this.builtAtMs })
    this.manager = new CertManager({
      store: new IdentityStore({ disk, clock, log, stateFolder: '/state' }),
      trust: new Trust({ disk, log, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true }),
      floor: this.floor,
      spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
      ttlSec: 0,
      key: 'ecdsa-p256',
      clock,
      random: seededRandom(1),
      log,
      metrics: new Metrics(),
      earliestWallMs: this.builtAtMs,
      authority: async ({ current, certificateRefused }) => {
        this.requests.push({ refused: certificateRefused, serial: current?.serial })
        if (this.link === 'down') throw new MeshError('MESH_CONTROL_UNREACHABLE', 'no route')
        const byCertificate = !certificateRefused && current && current.notAfterMs > this.floor.nowMs()
        if (byCertificate && current.notAfterMs <= this.trueMs)
          throw new MeshError('MESH_CONTROL_UNAUTHENTICATED', 'TLS alert "certificate expired"')
        if (!byCertificate && this.token === 'bad')
          throw new MeshError('MESH_NO_IDENTITY', 'the certificate has expired and there is no join token')
        return {
          identity: ca.issue('edge', 'gateway', { notBeforeMs: this.trueMs - 2 * MINUTE, ttlSec: this.lifeSec + 120 }),
          ttlRefused: undefined,
        }
      },
      ...over,
    })
    this.manager.start()
    return this.manager
  }
  async stop(): Promise<void> {
    const stopped = this.manager[Symbol.asyncDispose]()
    await this.clock.advance(0)
    await stopped
    this.floor[Symbol.dispose]()
  }
  get trueMs(): number {
    return this.#trueStartMs + this.clock.monotonicMs()
  }
  /** Asleep: the monotonic clock stands still. */
  sleep(ms: number): void {
    this.#trueStartMs += ms
    this.clock.setWallMs(this.trueMs)
  }
  /** Switched off: time goes by everywhere else. @param wallMs what its clock shows afterwards; default: the truth */
  off(ms: number, wallMs = this.trueMs + ms): void {
    this.#trueStartMs = this.trueMs + ms
    this.clock = new SimClock(wallMs)
  }
  async pass(ms: number, step = ms, look: () => void = () => {}): Promise<void> {
    for (let gone = 0; gone < ms; gone += step) {
      await this.clock.advance(step)
      look()
    }
  }
  /** Milliseconds of true life that the certificate has left. */
  get leftMs(): number {
    return (this.manager.current()?.notAfterMs ?? 0) - this.trueMs
  }
  get problems(): string[] {
    return this.manager.problems().map((p) => p.code)
  }
}

for (const { life, sec, forMs, step } of [
  { life: '60 seconds', sec: 60, forMs: 2 * HOUR, step: 1_000 },
  { life: '10 minutes', sec: 600, forMs: 2 * DAY, step: MINUTE },
  { life: '24 hours', sec: 86_400, forMs: 10 * DAY, step: HOUR },
])
  test(`a life of ${life}: renewed at half of it, always in time, with no request too many`, async () => {
    const device = new Device(sec)
    device.token = 'good'
    device.start()
    let least = Infinity
    await device.pass(step, step)
    await device.pass(forMs, step, () => {
      least = Math.min(least, device.leftMs)
    })
    assert.ok(least > 0.4 * sec * 1000 - step, `${least} ms were left`)
    const expected = forMs / (sec * 500)
    assert.ok(
      device.requests.length > expected * 0.85 && device.requests.length < expected * 1.4 + 3,
      `${device.requests.length} requests, about ${expected} expected`,
    )
    await device.stop()
  })

test('a life of 90 days on a device that is on for ten minutes a day, 400 days long: renewed in time with nothing but the certificate', async () => {
  const device = new Device(90 * 86_400)
  device.token = 'good'
  for (let day = 0; day < 400; day++) {
    device.start()
    await device.pass(10 * MINUTE)
    assert.ok(device.leftMs > 40 * DAY, `day ${day}: ${device.leftMs / DAY} days were left`)
    await device.stop()
    device.off(DAY - 10 * MINUTE)
    // After that a certificate alone is enough.
    device.token = 'bad'
  }
  assert.ok(device.requests.length >= 9 && device.requests.length <= 11, `${device.requests.length} requests`)
})

for (const { life, sec, lives } of [
  { life: '60 seconds', sec: 60, lives: 10 },
  { life: '10 minutes', sec: 600, lives: 4 },
  { life: '24 hours', sec: 86_400, lives: 2 },
  { life: '90 days', sec: 90 * 86_400, lives: 0.6 },
]) {
  for (const { name, jump } of [
    { name: 'daylight saving applied to the wrong clock, an hour ahead', jump: HOUR },
    { name: 'an hour back', jump: -HOUR },
    { name: 'a leap second', jump: -1_000 },
    { name: 'a month back', jump: -30 * DAY },
    { name: 'back to 1970', jump: -Date.now() },
    { name: 'twenty years ahead', jump: 20 * 365 * DAY },
  ])
    test(`a life of ${life}, and the clock jumps while it runs, ${name}: the certificate stays valid, and there is no storm`, async () => {
      const device = new Device(sec)
      device.token = 'good'
      device.start()
      const lifeMs = sec * 1_000
      const step = Math.min(lifeMs / 24, HOUR)
      await device.pass(2 * step, step)
      device.clock.setWallMs(device.clock.wallMs() + jump)
      const before = device.requests.length
      let least = Infinity
      // A clock that says that everything has expired is believed once in five minutes.
      const seemsOver = jump > lifeMs * 0.4
      const forMs = seemsOver ? Math.min(lives * lifeMs, DAY) : lives * lifeMs
      await device.pass(forMs, step, () => {
        least = Math.min(least, device.leftMs)
      })
      const asked = device.requests.length - before
      const most = 3 * lives + 1
      assert.ok(asked <= (seemsOver ? Math.max(most, forMs / (5 * MINUTE) + 2) : most), `${asked} requests`)
      assert.ok(asked >= Math.max(1, lives * 1.5), `${asked} requests`)
      assert.ok(least > lifeMs * 0.35, `${least / lifeMs} of the life were left`)
      assert.equal(device.problems.includes('MESH_CLOCK_WRONG'), jump <= -HOUR)
      assert.equal(device.problems.includes('MESH_IDENTITY_EXPIRED'), jump > lifeMs, 'by that clock it has')

      device.clock.setWallMs(device.trueMs)
      await device.pass(HOUR, MINUTE)
      assert.deepEqual(device.problems, [], 'a clock that is right again leaves nothing behind')
      await device.stop()
      device.start()
      await device.pass(MINUTE)
      assert.deepEqual(device.problems, [], 'nor on disk')
      await device.stop()
    })
}

for (const { life, sec } of [
  { life: '60 seconds', sec: 60 },
  { life: '10 minutes', sec: 600 },
])
  test(`a life of ${life} and an outage that ends shortly before its end: it is renewed in time`, async () => {
    const device = new Device(sec)
    device.token = 'good'
    device.start()
    await device.pass(sec * 1_000 * 3, 1_000)
    for (let i = 0; i < 10; i++) {
      const { serial } = device.manager.current()!
      device.link = 'down'
      while (device.leftMs > sec * 150) await device.pass(500)
      assert.equal(device.manager.current()!.serial, serial)
      const tries = device.requests.length
      device.link = 'up'
      while (device.leftMs > 0 && device.manager.current()!.serial === serial) await device.pass(500)
      assert.ok(device.leftMs > 0, `${device.leftMs} ms were left`)
      assert.equal(device.requests.length, tries + 1)
    }
    await device.stop()
  })

test('a life of 60 seconds and a machine that sleeps: it renews when it wakes', async () => {
  const device = new Device(60)
  device.token = 'good'
  device.start()
  await device.pass(MINUTE, 1_000)
  device.sleep(2 * HOUR)
  await device.pass(35_000, 1_000)
  assert.ok(device.leftMs > 0)
  await device.stop()
})

test('400 days switched off and a clock at 1970: what was valid then is not taken for valid now, and the token brings it back by itself', async () => {
  const device = new Device(86_400)
  device.token = 'good'
  device.start()
  await device.pass(30 * HOUR, HOUR)
  await device.stop()
  const last = device.trueMs
  device.off(400 * DAY, 5 * MINUTE)
  const before = device.requests.length
  device.start()
  assert.ok(
    device.floor.nowMs() > last - HOUR && device.floor.nowMs() <= last,
    `it knows when it was switched off: ${device.floor.nowMs() - last}`,
  )
  assert.ok(device.problems.includes('MESH_CLOCK_WRONG'))
  // Nothing has told it the true time: it asks with its certificate, hears that it is worth nothing, and takes the
  // token.
  device.manager.certificateRefused()
  await device.pass(10 * MINUTE, MINUTE)
  assert.ok(device.leftMs > 0, 'a new certificate')
  assert.ok(device.requests.length - before <= 6, `${device.requests.length - before} requests`)
  assert.ok(Math.abs(device.floor.nowMs() - device.trueMs) < 15 * MINUTE, 'it knows how late it is')
  assert.deepEqual(device.problems, ['MESH_CLOCK_WRONG'])
  await device.pass(2 * DAY, HOUR)
  assert.ok(device.leftMs > 8 * HOUR)
  await device.stop()
})

test("the control plane's own certificate says how late it is: then the expired one is not even tried", async () => {
  const device = new Device(86_400)
  device.token = 'good'
  device.start()
  await device.pass(HOUR)
  await device.stop()
  device.off(400 * DAY, 5 * MINUTE)
  device.start()
  device.floor.seen(device.trueMs - HOUR)
  const before = device.requests.length
  await device.pass(2 * MINUTE, MINUTE)
  assert.equal(device.requests.length - before, 1)
  assert.ok(device.leftMs > 0)
  await device.stop()
})

test('400 days off without any credential that is accepted: one instruction, and the way back once there is a token', async () => {
  const device = new Device(86_400)
  device.token = 'good'
  device.start()
  await device.pass(HOUR)
  await device.stop()
  device.token = 'bad'
  device.off(400 * DAY)
  device.start()
  await device.pass(10 * MINUTE, MINUTE)
  const problems = device.manager.problems()
  assert.equal(problems.length, 1)
  assert.equal(problems[0]!.code, 'MESH_IDENTITY_EXPIRED')
  assert.match(
    problems[0]!.message,
    /Nothing at hand is accepted: put a new join token into the file of control\.token, or run `meshlet join --token FILE`/,
  )
  device.token = 'good'
  await device.pass(5 * MINUTE, MINUTE)
  assert.ok(device.leftMs > 0)
  assert.deepEqual(device.problems, [])
  await device.stop()
})

test('a link that is away from before the renewal to after the end: tries go on, and it renews when the link is back', async () => {
  const device = new Device(3_600)
  device.token = 'good'
  device.start()
  await device.pass(10 * MINUTE, MINUTE)
  device.link = 'down'
  const first = device.manager.current()!.serial
  await device.pass(45 * MINUTE, MINUTE)
  assert.equal(device.manager.current()!.serial, first, 'the old one serves')
  assert.deepEqual(device.problems, ['MESH_CONTROL_UNREACHABLE'])
  const tries = device.requests.length
  assert.ok(tries > 20, 'it keeps trying')
  device.link = 'up'
  await device.pass(MINUTE)
  assert.notEqual(device.manager.current()!.serial, first)
  device.link = 'down'
  await device.pass(2 * HOUR, MINUTE)
  assert.ok(device.leftMs < 0)
  assert.deepEqual(device.problems, ['MESH_IDENTITY_EXPIRED'])
  device.link = 'up'
  await device.pass(MINUTE)
  assert.ok(device.leftMs > 0)
  await device.stop()
})

test('a machine that slept for days renews soon after it wakes', async () => {
  const device = new Device(86_400)
  device.token = 'good'
  device.start()
  await device.pass(HOUR)
  device.sleep(5 * DAY)
  await device.pass(2 * MINUTE, MINUTE)
  assert.ok(device.leftMs > 0)
  await device.stop()
})

test('a disk that takes nothing: the new certificate serves, status says that it is not stored', async () => {
  const device = new Device(86_400)
  device.token = 'good'
  device.disk = {
    ...device.fs.disk,
    replace: () => {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    },
  }
  device.start()
  await device.pass(MINUTE)
  assert.ok(device.leftMs > 0)
  assert.deepEqual(device.problems, ['MESH_STATE_UNUSABLE'])
  await device.stop()
})

test('the time that has been reached is written once a day, not more', async () => {
  const device = new Device(86_400)
  device.token = 'good'
  let writes = 0
  const { disk } = device.fs
  device.disk = {
    ...disk,
    replace: (file, content, mode) => {
      if (file.endsWith('time-floor.json')) writes++
      disk.replace(file, content, mode)
    },
  }
  device.start()
  await device.pass(10 * DAY, HOUR)
  assert.ok(writes >= 9 && writes <= 11, `${writes} writes in ten days`)
  await device.stop()
})
