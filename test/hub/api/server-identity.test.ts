import { test } from 'node:test'
import assert from 'node:assert/strict'
import { systemDisk } from '../../../core/os/disk.ts'
import { silentLog } from '../../../core/log.ts'
import { ServerIdentity } from '../../../hub/api/server-identity.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'

const DAY_MS = 86_400_000
function made() {
  const clock = new SimClock()
  const disk = { ...systemDisk, read: () => undefined, makeFolder: () => {}, replace: () => {} }
  const ca = openCa({ folder: '/ca', disk, clock, trustDomain: 'demo.mesh' })
  const identity = new ServerIdentity(ca, ['hub.demo.mesh'], { clock, random: seededRandom(1), log: silentLog })
  const told: string[] = []
  identity.addIdentityCertificateListener((update) => {
    told.push(update!.certificate.toString())
  })
  return { clock, identity, told }
}

test('the server certificate is renewed at half its life, with a new key, and listeners are told', async () => {
  const { clock, identity, told } = made()
  await settle() // grpc-js must not be told within the call
  const first = identity.current
  assert.deepEqual(told, [first.chainPem])
  await clock.advance(14 * DAY_MS)
  assert.equal(identity.current, first)
  await clock.advance(2 * DAY_MS)
  assert.notEqual(identity.current.keyPem, first.keyPem)
  assert.deepEqual(told, [first.chainPem, identity.current.chainPem])
  await clock.advance(90 * DAY_MS)
  assert.ok(identity.current.notAfterMs > clock.wallMs() + 14 * DAY_MS)
})

test('a renewal that fails (a clock that jumped back) keeps the certificate and is tried again', async () => {
  const { clock, identity, told } = made()
  const wallMs = clock.wallMs()
  await clock.advance(14 * DAY_MS)
  clock.setWallMs(wallMs - 100 * DAY_MS)
  await clock.advance(2 * DAY_MS)
  assert.equal(told.length, 1)
  clock.setWallMs(wallMs + 16 * DAY_MS)
  await clock.advance(60_000)
  assert.equal(told.length, 2)
  identity[Symbol.dispose]()
  assert.equal(clock.pendingTimers, 0)
})
