import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../agent/core/errors.ts'
import { silentLog } from '../../../agent/core/log.ts'
import { Metrics } from '../../../agent/core/metrics.ts'
import type { Identity } from '../../../agent/model/identity.ts'
import { CertManager } from '../../../control-sync/identity/cert-manager.ts'
import type { IdentityStore } from '../../../control-sync/identity/identity-store.ts'
import { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import { Trust } from '../../../control-sync/identity/trust.ts'
import { CrashFs } from '../../helpers/crash-disk.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { testCa } from '../../helpers/test-ca.ts'

const DAY_MS = 86_400_000
/** A manager with a certificate at hand, whose CA answers as told; `asked` has one entry for each request. */
function rig(answer: (certificateRefused: boolean) => Identity | MeshError): { manager: CertManager; clock: SimClock; asked: ('certificate' | 'token')[] } {
  const clock = new SimClock(Date.now())
  const { disk } = new CrashFs()
  const stored = testCa().issue('edge', 'gateway')
  const asked: ('certificate' | 'token')[] = []
  const manager = new CertManager({
    store: { load: () => stored, save: () => { /* kept nowhere */ } } as unknown as IdentityStore,
    authority: async ({ certificateRefused }) => {
      asked.push(certificateRefused ? 'token' : 'certificate')
      const given = answer(certificateRefused)
      if (given instanceof MeshError) throw given
      return { identity: given, ttlRefused: undefined }
    },
    trust: new Trust({ disk, log: silentLog, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true }), floor: new TimeFloor({ disk, clock, log: silentLog, stateFolder: '/state', builtAtMs: undefined }),
    key: 'ecdsa-p256', spiffeUri: stored.spiffeId.uri, ttlSec: 0, clock, random: seededRandom(3), log: silentLog, metrics: new Metrics(), earliestWallMs: undefined,
  })
  return { manager, clock, asked }
}

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
