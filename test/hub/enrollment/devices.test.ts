/** Joining and renewing by a device's key, with a simulated clock: what a token opens, what a copy and a long absence mean. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Renewed } from '../../../model/fleet/enrollment.ts'
import type { DeviceServiceOptions } from '../../../hub/enrollment/admission.ts'
import { DeviceService } from '../../../hub/enrollment/devices.ts'
import { approveDevice, forgetDevice, revokeDevice } from '../../../hub/enrollment/operator.ts'
import { openRegistry, type Registry } from '../../../hub/registry/registry.ts'
import { Tokens } from '../../../hub/tokens.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const DAY_MS = 86_400_000
const TTL_MS = DAY_MS

function countingCertificates(clock: SimClock): DeviceServiceOptions['certificates'] {
  let serial = 0
  return {
    async create(caller, _request, ip, tx) {
      const issued = { serial: `s${++serial}`, notBeforeMs: 0, notAfterMs: clock.wallMs() + TTL_MS, keyId: 'x' }
      await tx!.addCertificate({
        ...issued,
        spiffeUri: caller.spiffeId.uri,
        jti: null,
        device: caller.by === 'key' ? caller.device : 'x',
        ip,
        issuedMs: clock.wallMs() + serial,
      })
      return { ...issued, chainPem: [issued.serial, 'root'] }
    },
  }
}

function made(enrollment: Partial<DeviceServiceOptions['enrollment']> = {}) {
  const [registry, clock] = [openRegistry(':memory:'), new SimClock()]
  const trustDomain = 'demo.mesh'
  const tokens = new Tokens({
    key: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey,
    registry,
    clock,
    trustDomain,
  })
  const certificates = countingCertificates(clock)
  const devices = new DeviceService({
    registry,
    tokens,
    trustDomain,
    clock,
    log: silentLog,
    metrics: new Metrics(),
    enrollment: { approval: 'token', clones: 'older', graceDays: 400, pendingDays: 30, ...enrollment },
    certificates,
    controlTokens: undefined,
  })
  const token = async (p: Partial<Parameters<Tokens['create']>[0]> = {}): Promise<string> =>
    (await tokens.create({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-1', ttlSec: 3_600, ...p })).token
  const join = (token: string, keyId = 'k1', p: { name?: string; address?: string; nonce?: string } = {}) =>
    devices.join(
      { keyId, address: p.address ?? '10.0.0.1' },
      { token, csr: 'csr', ttlSec: 0, nonce: p.nonce ?? `n-${keyId}`, name: p.name },
    )
  /** A machine with the key: renews by what it was answered last. */
  const machine = (first: Pick<Renewed, 'counter' | 'chain'>, address = '10.0.0.1', keyId = 'k1') => {
    let [state, nonce] = [first, 0]
    return {
      ask: (fresh = true) => {
        if (fresh) nonce++
        return devices.renew(
          { keyId, address },
          { counter: state.counter, chain: state.chain, csr: 'csr', ttlSec: 0, nonce: `${address} ${nonce}` },
        )
      },
      async renew(fresh = true) {
        const answer = await this.ask(fresh)
        state = answer
        return answer
      },
      copy: (at: string) => machine(state, at, keyId),
    }
  }
  return { registry, clock, tokens, devices, token, join, machine }
}
const refused = (code: ErrorCode, why: RegExp, work: () => Promise<unknown>): Promise<void> =>
  assert.rejects(work, (err) => {
    assert.ok(err instanceof MeshError && err.code === code, String(err))
    assert.match(err.message, why)
    return true
  })
const events = async (registry: Registry): Promise<string[]> =>
  (await registry.audit.list({ most: 99 })).map((r) => r.event)

test('a token opens nothing when it is spent, ended, revoked, of another place or for another name', async () => {
  const m = made()
  const once = await m.token({ maxUses: 1 })
  assert.equal((await m.join(once)).state, 'active')
  await refused('MESH_TOKEN_INVALID', /used up/, async () => await m.join(once, 'k2'))
  await refused(
    'MESH_TOKEN_INVALID',
    /not for 10\.9\.0\.1/,
    async () =>
      await m.join(await m.token({ nodes: 'gw-2', cidrs: ['10.0.0.0/24', '2001:db8::/32'] }), 'k2', {
        address: '10.9.0.1',
      }),
  )
  await refused(
    'MESH_CONTROL_FORBIDDEN',
    /is for gw-2, not for gw-1/,
    async () => await m.join(await m.token({ nodes: 'gw-2' }), 'k2', { name: 'gw-1' }),
  )
  for (const name of ['../etc', 'gw-1/..', "gw-'; --", 'other', 'gw-\u0000'])
    await refused(
      'MESH_CONTROL_FORBIDDEN',
      /is for gw-\*/,
      async () => await m.join(await m.token({ nodes: 'gw-*' }), 'k2', { name }),
    )
  await refused(
    'MESH_CONTROL_FORBIDDEN',
    /name the device/,
    async () => await m.join(await m.token({ nodes: 'gw-*' }), 'k2'),
  )
  const short = await m.token({ nodes: 'gw-3', ttlSec: 60 })
  m.clock.setWallMs(m.clock.wallMs() + 60_000)
  await refused('MESH_TOKEN_INVALID', /ended/, async () => await m.join(short, 'k3'))
  const gone = await m.tokens.create({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-4', ttlSec: 60 })
  await m.registry.revokeToken(gone.jti, m.clock.wallMs())
  await refused('MESH_TOKEN_INVALID', /revoked/, async () => await m.join(gone.token, 'k4'))
  assert.deepEqual(
    (await m.registry.enrollments.all()).map((e) => e.name),
    ['gw-1'],
  )
  assert.deepEqual(await m.registry.enrollments.requests(), [])
})

test('who is refused has used nothing of the token', async () => {
  const m = made()
  const token = await m.token({ nodes: 'gw-*', maxUses: 1 })
  await refused('MESH_CONTROL_FORBIDDEN', /./, async () => await m.join(token, 'k1', { name: 'other' }))
  assert.equal((await m.join(token, 'k1', { name: 'gw-1' })).state, 'active')
})

test('a join whose answer was lost is made again and is the same join; the key renews, the token is not asked for', async () => {
  const m = made()
  const token = await m.token({ maxUses: 1 })
  const [one, two] = [await m.join(token), await m.join(token)]
  assert.deepEqual([two.renewed?.counter, two.renewed?.chain], [one.renewed?.counter, one.renewed?.chain])
  const jti = (await m.registry.tokens())[0]!.jti
  await m.registry.revokeToken(jti, m.clock.wallMs())
  const d = m.machine(two.renewed!)
  await d.ask() // its answer is lost
  assert.equal((await d.renew(false)).counter, 2)
  assert.equal((await d.renew()).counter, 3)
  assert.deepEqual(await events(m.registry), ['device.joined'])
})

test('one key has one name, and a name has one key: another waits for an operator, and ends the one before', async () => {
  const m = made()
  const first = m.machine((await m.join(await m.token())).renewed!)
  await refused(
    'MESH_CONTROL_FORBIDDEN',
    /key is that of gw-1/,
    async () => await m.join(await m.token({ nodes: 'gw-2' }), 'k1', { nonce: 'b' }),
  )
  assert.equal((await m.join(await m.token(), 'k2')).state, 'pending')
  await refused(
    'MESH_DEVICE_PENDING',
    /belongs to another key, last seen at 10\.0\.0\.1/,
    async () => await m.machine({ counter: 0, chain: '' }, '10.0.0.2', 'k2').ask(),
  )
  await refused('MESH_CONTROL_FORBIDDEN', /another device waits/, async () => await m.join(await m.token(), 'k3'))
  assert.equal((await first.renew()).counter, 2, 'until then it is the first one’s')
  await approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  assert.equal((await m.machine({ counter: 0, chain: '' }, '10.0.0.2', 'k2').renew()).counter, 1)
  await refused('MESH_DEVICE_UNKNOWN', /no device with the key k1/, async () => await first.ask())
  assert.equal((await m.registry.certificate('s2'))?.revokedMs, m.clock.wallMs())
})

for (const { policy, first, second } of [
  { policy: 'older', first: 'goes on', second: 'MESH_DEVICE_CLONED' },
  { policy: 'none', first: 'MESH_DEVICE_REVOKED', second: 'MESH_DEVICE_CLONED' },
  { policy: 'both', first: 'goes on', second: 'goes on' },
] as const)
  test(`two copies are found at the first renewal of the second; policy ${policy}`, async () => {
    const m = made({ clones: policy })
    const one = m.machine((await m.join(await m.token())).renewed!)
    const copy = one.copy('192.0.2.7')
    await one.renew()
    const does = async (d: typeof one): Promise<string> => {
      try {
        await d.renew()
        return 'goes on'
      } catch (err) {
        return (err as MeshError).code
      }
    }
    assert.deepEqual([await does(copy), await does(one)], [second, first])
    const { clonedMs, cloneAddresses } = (await m.registry.enrollments.byName('gw-1'))!
    assert.deepEqual([clonedMs, cloneAddresses], [m.clock.wallMs(), '10.0.0.1 and 192.0.2.7'])
    assert.deepEqual((await events(m.registry)).filter((e) => e === 'device.cloned').length, 1)
    assert.equal(
      (await m.registry.certificate('s1'))?.revokedMs !== null,
      policy !== 'both',
      'what was copied is good no more',
    )
    assert.equal((await m.registry.certificate('s2'))?.revokedMs !== null, policy === 'none')
    await approveDevice(m.registry, 'gw-1', m.clock.wallMs())
    assert.equal(await does(one), 'goes on')
    assert.equal((await m.registry.enrollments.byName('gw-1'))?.clonedMs, null)
  })

test('a year away: the key alone brings it back and that is written down; after the grace an operator has to look', async () => {
  const m = made()
  const d = m.machine((await m.join(await m.token())).renewed!)
  m.clock.setWallMs(m.clock.wallMs() + 365 * DAY_MS)
  assert.equal((await d.renew()).counter, 2)
  assert.deepEqual(await events(m.registry), ['device.joined', 'device.returned'])
  m.clock.setWallMs(m.clock.wallMs() + 402 * DAY_MS)
  await refused(
    'MESH_DEVICE_PENDING',
    /certificate ended 401 days ago \(enrollment\.graceDays 400\)/,
    async () => await d.ask(),
  )
  await refused('MESH_DEVICE_PENDING', /./, async () => await d.ask())
  assert.match(await approveDevice(m.registry, 'gw-1', m.clock.wallMs()), /401 days ago/)
  assert.equal((await d.renew()).counter, 3)
  assert.deepEqual(await m.registry.enrollments.requests(), [])
})

test('a hub that was restored knows less than its devices: each goes on once, and copies are found again after that', async () => {
  const m = made()
  const d = m.machine((await m.join(await m.token())).renewed!)
  const known = (await m.registry.enrollments.byName('gw-1'))!
  for (let i = 0; i < 3; i++) await d.renew()
  await m.registry.enrollments.renewed('gw-1', { ...known, nowMs: 1, notAfterMs: known.notAfterMs })
  await m.registry.enrollments.resyncAll()
  assert.equal((await d.renew()).counter, 5)
  const copy = d.copy('192.0.2.7')
  await d.renew()
  await refused('MESH_DEVICE_CLONED', /./, async () => await copy.ask())
  assert.deepEqual(await events(m.registry), ['device.joined', 'device.resynced', 'device.cloned'])
})

test('revoked by name: neither key nor token lets it in; approved it goes on, forgotten the name is free', async () => {
  const m = made()
  const d = m.machine((await m.join(await m.token())).renewed!)
  await d.renew()
  assert.equal(await revokeDevice(m.registry, 'gw-1', m.clock.wallMs()), 2)
  await refused('MESH_DEVICE_REVOKED', /is revoked/, async () => await d.ask())
  await refused('MESH_DEVICE_REVOKED', /is revoked/, async () => await m.join(await m.token(), 'k9'))
  await approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  await d.renew()
  await refused('MESH_CONFIG_INVALID', /nobody waits as "gw-1"/, () => approveDevice(m.registry, 'gw-1', 1))
  await refused('MESH_CONFIG_INVALID', /no device "gw-7" is known/, () => revokeDevice(m.registry, 'gw-7', 1))
  assert.equal(await forgetDevice(m.registry, 'gw-1', m.clock.wallMs()), true)
  await refused('MESH_DEVICE_UNKNOWN', /./, async () => await d.ask())
  assert.equal((await m.join(await m.token(), 'k9')).state, 'active')
})

test('approval: of the token or of all; what waits is shown with its reason, and a second request changes nothing', async () => {
  const m = made({ approval: 'always' })
  assert.equal((await m.join(await m.token({ labels: { site: 'north' } }))).state, 'pending')
  await m.join(await m.token())
  assert.deepEqual(
    (await m.registry.enrollments.requests()).map((r) => [r.name, r.labels]),
    [['gw-1', { site: 'north' }]],
  )
  await approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  assert.equal((await m.machine({ counter: 0, chain: '' }).renew()).counter, 1)
})

test('who joins again after an operator’s word is in, and needs no second one', async () => {
  const m = made()
  const token = await m.token({ approval: true })
  assert.equal((await m.join(token)).state, 'pending')
  await approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  const again = await m.join(token)
  assert.deepEqual([again.state, again.renewed?.counter], ['active', 1])
  assert.deepEqual(await m.registry.enrollments.requests(), [])
  assert.equal((await m.machine(again.renewed!).renew()).counter, 2)
})

test('a copy that knows the last nonce does not come in by the token again: not when kept out, not past a renewal', async () => {
  const m = made({ clones: 'none' })
  const token = await m.token()
  const d = m.machine((await m.join(token)).renewed!)
  const copy = d.copy('192.0.2.7')
  await d.renew()
  const { nonce } = (await m.registry.enrollments.byName('gw-1'))!
  assert.equal((await m.join(token, 'k1', { nonce })).state, 'pending', 'past a renewal')
  await forgetDevice(m.registry, 'gw-1', m.clock.wallMs())
  const e = m.machine((await m.join(token, 'k1', { nonce })).renewed!)
  await e.renew()
  await refused('MESH_DEVICE_CLONED', /./, async () => await copy.ask())
  const last = (await m.registry.enrollments.byName('gw-1'))!
  assert.equal(last.state, 'suspended')
  assert.equal((await m.join(token, 'k1', { nonce: last.nonce })).renewed, undefined, 'kept out')
})

test('who waits for too long is forgotten, gives the name free for another request, and may ask again', async () => {
  const m = made({ approval: 'always', pendingDays: 2 })
  assert.equal((await m.join(await m.token({ ttlSec: 864_000 }))).state, 'pending')
  await refused('MESH_CONTROL_FORBIDDEN', /another device waits/, async () => await m.join(await m.token(), 'k2'))
  const machine = m.machine({ counter: 0, chain: '' })
  m.clock.setWallMs(m.clock.wallMs() + 2 * DAY_MS)
  await refused('MESH_DEVICE_PENDING', /./, () => machine.ask())
  m.clock.setWallMs(m.clock.wallMs() + 1)
  await refused('MESH_DEVICE_UNKNOWN', /./, () => machine.ask())
  assert.equal((await m.join(await m.token(), 'k2')).state, 'pending')
  assert.deepEqual(
    (await m.registry.enrollments.requests()).map((r) => r.keyId),
    ['k2'],
  )
})

test('whoever is nobody here, waits or is revoked keeps nobody from writing', async () => {
  const m = made()
  const { renewed } = await m.join(await m.token())
  const { counter, chain } = renewed!
  const stands = { counter, chain, nonce: undefined }
  assert.equal((await m.join(await m.token(), 'k2')).state, 'pending')
  let writers = 0
  const exclusively = m.registry.exclusively.bind(m.registry)
  m.registry.exclusively = (work) => {
    writers++
    return exclusively(work)
  }
  const come = (keyId: string) => m.devices.enter({ keyId, address: '10.0.0.9' }, stands)
  const renew = (keyId: string) => m.machine({ counter, chain }, '10.0.0.9', keyId).ask()
  for (const way of [come, renew]) {
    await refused('MESH_DEVICE_UNKNOWN', /no device with the key k9/, () => way('k9'))
    await refused('MESH_DEVICE_PENDING', /waits for approval/, () => way('k2'))
  }
  await exclusively((tx) => revokeDevice(tx, 'gw-1', m.clock.wallMs()))
  for (const way of [come, renew]) await refused('MESH_DEVICE_REVOKED', /is revoked/, () => way('k1'))
  assert.equal(writers, 0)
  await m.clock.advance(31 * DAY_MS)
  await refused('MESH_DEVICE_UNKNOWN', /k2/, () => come('k2'))
})

test("where a device was seen last is not told to another tenant's who wants its name", async () => {
  const m = made()
  await m.join(await m.token())
  assert.equal((await m.join(await m.token({ namespace: 'lab' }), 'k2')).state, 'pending')
  assert.equal((await m.registry.enrollments.request({ name: 'gw-1' }))?.why, 'the name belongs to another key')
})
