import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Identity } from '../../../model/identity.ts'
import { CertManager } from '../../../control-sync/identity/cert-manager.ts'
import type { IdentityStore } from '../../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import { Trust } from '../../../control-sync/identity/trust.ts'
import { CrashFs } from '../../helpers/disk/crash-disk.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { testCa } from '../../helpers/test-ca.ts'

const DAY_MS = 86_400_000
const ca = testCa()
type Rig = {
  manager: CertManager
  clock: SimClock
  asked: ('certificate' | 'token')[]
  /** What the token file holds. */ token: string | undefined
  /** What is on disk. */ stored: Identity | undefined
  saved: Identity[]
  codes(): string[]
}
/** A manager with a certificate at hand, whose CA answers as told; `asked` has one entry for each request. */
function rig(
  answer: (certificateRefused: boolean) => Identity | MeshError,
  present = ca.issue('edge', 'gateway'),
): Rig {
  const clock = new SimClock(Date.now())
  const { disk } = new CrashFs()
  const r: Omit<Rig, 'manager'> = {
    clock,
    asked: [],
    token: undefined,
    stored: present,
    saved: [],
    codes: () => manager.problems().map((p) => p.code),
  }
  const manager = new CertManager({
    store: {
      load: () => present,
      peek: () => r.stored,
      save: (i: Identity) => {
        r.saved.push(i)
        r.stored = i
      },
    } as unknown as IdentityStore,
    authority: async ({ certificateRefused }) => {
      r.asked.push(certificateRefused ? 'token' : 'certificate')
      const given = answer(certificateRefused)
      if (given instanceof MeshError) throw given
      return { identity: given, ttlRefused: undefined }
    },
    trust: new Trust({ disk, log: silentLog, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true }),
    floor: new TimeFloor({ disk, clock, log: silentLog, stateFolder: '/state', builtAtMs: undefined }),
    key: 'ecdsa-p256',
    spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
    ttlSec: 0,
    clock,
    random: seededRandom(3),
    log: silentLog,
    metrics: new Metrics(),
    earliestWallMs: undefined,
    token: () => r.token,
  })
  return Object.assign(r, { manager })
}

test('a control plane that refuses whatever comes is not asked in a loop', async (t) => {
  const r = rig(() => testCa().issue('edge', 'gateway'))
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  const refuse = async (ms: number): Promise<number> => {
    r.manager.certificateRefused()
    await r.clock.advance(ms)
    return r.asked.length
  }
  assert.equal(await refuse(1_000), 1)
  for (let i = 0; i < 20; i++) assert.equal(await refuse(1_000), 1, 'one was asked for a moment ago')
  await r.clock.advance(10_000)
  assert.equal(await refuse(1_000), 2)
})

test('a certificate that the control plane refuses is replaced at once, by the token', async (t) => {
  const fresh = testCa().issue('edge', 'gateway')
  const r = rig(() => fresh)
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  await settle()
  assert.deepEqual(r.asked, [], 'half of its life is ahead')
  r.manager.certificateRefused()
  await settle()
  assert.deepEqual(r.asked, ['token'])
  assert.equal(r.manager.current(), fresh)
  await r.clock.advance(DAY_MS)
  assert.equal(r.asked[1], 'certificate', 'the new one is taken for its own renewal')
})
test('certificate and token are tried in turn while neither is accepted', async (t) => {
  const r = rig(() => new MeshError('MESH_CONTROL_UNAUTHENTICATED', 'no'))
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  r.manager.certificateRefused()
  await r.clock.advance(20 * 60_000)
  assert.deepEqual(r.asked.slice(0, 4), ['token', 'certificate', 'token', 'certificate'])
})

test('a night without a link does not make the first refusal after it wait for minutes', async (t) => {
  let answer = new MeshError('MESH_CONTROL_UNREACHABLE', 'away')
  const r = rig(() => answer)
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  r.manager.certificateRefused()
  await r.clock.advance(8 * 3_600_000)
  answer = new MeshError('MESH_CONTROL_UNAUTHENTICATED', 'no')
  const before = r.asked.length
  await r.clock.advance(40_000)
  const after = r.asked.length - before
  assert.ok(
    after >= 3,
    `${after} requests in the first 40 s, of which one was due in 30: a person may be at work on the token`,
  )
})

test('a renewal that gives an older certificate changes nothing, is said, and is asked for again', async (t) => {
  const present = ca.issue('edge', 'gateway')
  let clockOfCa = Date.now() - DAY_MS
  const r = rig(() => ca.issue('edge', 'gateway', { notBeforeMs: clockOfCa }), present)
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  await r.clock.advance(DAY_MS * 0.6)
  assert.equal(r.manager.current(), present)
  assert.deepEqual([r.codes(), r.saved], [['MESH_CERTIFICATE_OLD'], []])
  assert.ok(r.asked.length > 1 && r.asked.length < 200, `${r.asked.length} requests`)
  clockOfCa = Math.floor(r.clock.wallMs() / 1_000) * 1_000
  await r.clock.advance(5 * 60_000)
  assert.equal(r.manager.current()!.notBeforeMs, clockOfCa)
  assert.deepEqual(r.codes(), [])
})
test('a renewal that gives the certificate of another workload changes nothing, and is said', async (t) => {
  const present = ca.issue('edge', 'gateway')
  let account = 'other'
  const r = rig(() => ca.issue('edge', account, { notBeforeMs: Math.floor(r.clock.wallMs() / 1_000) * 1_000 }), present)
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  await r.clock.advance(DAY_MS * 0.6)
  assert.equal(r.manager.current(), present)
  assert.deepEqual(r.codes(), ['MESH_CERTIFICATE_OTHER'])
  account = 'gateway'
  await r.clock.advance(5 * 60_000)
  assert.notEqual(r.manager.current(), present)
  assert.deepEqual(r.codes(), [])
})
test('a CA that asks to come later is left alone for a second at least, also where the certificate is about to expire', async (t) => {
  const times: number[] = []
  const r = rig(
    () => {
      times.push(r.clock.monotonicMs())
      return new MeshError('MESH_CONTROL_SLOW_DOWN', 'later')
    },
    ca.issue('edge', 'gateway', { ttlSec: 150 }),
  )
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.manager.start()
  await r.clock.advance(30 * 60_000)
  assert.ok(times.length > 5)
  for (const [i, at] of times.entries()) if (i > 0) assert.ok(at - times[i - 1]! >= 1_000)
})

const WRONG = (): Identity => ca.issue('edge', 'other')
test('a certificate of another workload at start: the token that is there is tried, once', async (t) => {
  const r = rig(WRONG, WRONG())
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.token = 'of other'
  r.manager.start()
  await r.clock.advance(3_600_000)
  assert.deepEqual(r.asked, ['token'])
  assert.deepEqual(r.codes(), ['MESH_CERTIFICATE_OTHER'])
})
test('another token in its file is found within a minute, and with the right certificate nothing is wrong any more', async (t) => {
  const r = rig((byToken) => (byToken && r.token === 'of gateway' ? ca.issue('edge', 'gateway') : WRONG()), WRONG())
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.token = 'of other'
  r.manager.start()
  await r.clock.advance(3_600_000)
  r.token = 'of gateway'
  await r.clock.advance(60_000)
  assert.deepEqual(r.asked, ['token', 'token'])
  assert.equal(r.manager.current()?.spiffeId.serviceAccount, 'gateway')
  assert.deepEqual(r.codes(), [])
  r.token = 'a third'
  await r.clock.advance(3_600_000)
  assert.equal(r.asked.length, 2)
})
test('a token that nobody could look at, because the link was away, is shown again', async (t) => {
  let link: 'up' | 'down' = 'down'
  const r = rig(
    (byToken) =>
      link === 'down'
        ? new MeshError('MESH_CONTROL_UNREACHABLE', 'no route')
        : byToken
          ? ca.issue('edge', 'gateway')
          : WRONG(),
    WRONG(),
  )
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.token = 'of gateway'
  r.manager.start()
  await r.clock.advance(600_000)
  link = 'up'
  await r.clock.advance(60_000)
  assert.equal(r.manager.current()?.spiffeId.serviceAccount, 'gateway')
  assert.deepEqual([...new Set(r.asked)], ['token'])
})
for (const { name, present, answer } of [
  { name: 'of another workload', present: WRONG(), answer: WRONG },
  {
    name: 'expired, and nothing else is accepted',
    present: ca.issue('edge', 'gateway', { ttlSec: 60 }),
    answer: () => new MeshError('MESH_NO_IDENTITY', 'no token'),
  },
])
  test(`the certificate that \`meshlet join\` writes beside a running agent is taken where ours is ${name}`, async (t) => {
    const r = rig(answer, present)
    t.after(() => r.manager[Symbol.asyncDispose]())
    r.manager.start()
    await r.clock.advance(600_000)
    assert.equal(r.codes().length, 1)
    const joined = ca.issue('edge', 'gateway')
    r.stored = joined
    await r.clock.advance(150_000)
    assert.equal(r.manager.current(), joined)
    assert.deepEqual(r.codes(), [])
  })
test('what is on disk changes nothing while ours is good', async (t) => {
  const present = ca.issue('edge', 'gateway')
  const r = rig(() => new MeshError('MESH_CONTROL_UNREACHABLE', 'no route'), present)
  t.after(() => r.manager[Symbol.asyncDispose]())
  r.stored = ca.issue('edge', 'gateway')
  r.manager.start()
  await r.clock.advance(DAY_MS * 0.6)
  assert.equal(r.manager.current(), present)
})
