/** Joining and renewing by a device's key, with a simulated clock: what a token opens, what a copy and a long absence mean. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Renewed } from '../../../model/fleet/enrollment.ts'
import { DeviceService, type DeviceServiceOptions } from '../../../hub/enrollment/devices.ts'
import { approveDevice, forgetDevice, revokeDevice } from '../../../hub/enrollment/operator.ts'
import { Registry } from '../../../hub/registry/registry.ts'
import { Tokens } from '../../../hub/tokens.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const DAY_MS = 86_400_000
const TTL_MS = DAY_MS

function countingCertificates(registry: Registry, clock: SimClock): DeviceServiceOptions['certificates'] {
  let serial = 0
  return {
    create(caller, _request, ip) {
      const issued = { serial: `s${++serial}`, notBeforeMs: 0, notAfterMs: clock.wallMs() + TTL_MS, keyId: 'x' }
      registry.addCertificate({
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
  const [registry, clock] = [new Registry(':memory:'), new SimClock()]
  const trustDomain = 'demo.mesh'
  const tokens = new Tokens({
    key: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey,
    registry,
    clock,
    trustDomain,
  })
  const certificates = countingCertificates(registry, clock)
  const devices = new DeviceService({
    registry,
    tokens,
    trustDomain,
    clock,
    log: silentLog,
    metrics: new Metrics(),
    enrollment: { approval: 'token', clones: 'older', graceDays: 400, ...enrollment },
    certificates,
    controlTokens: undefined,
  })
  const token = (p: Partial<Parameters<Tokens['create']>[0]> = {}): string =>
    tokens.create({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-1', ttlSec: 3_600, ...p }).token
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
      renew(fresh = true) {
        const answer = this.ask(fresh)
        state = answer
        return answer
      },
      copy: (at: string) => machine(state, at, keyId),
    }
  }
  return { registry, clock, tokens, devices, token, join, machine }
}
const refused = (code: ErrorCode, why: RegExp, work: () => unknown): void =>
  assert.throws(work, (err) => {
    assert.ok(err instanceof MeshError && err.code === code, String(err))
    assert.match(err.message, why)
    return true
  })
const events = (registry: Registry): string[] => registry.audit.list({ most: 99 }).map((r) => r.event)

test('a token opens nothing when it is spent, ended, revoked, of another place or for another name', () => {
  const m = made()
  const once = m.token({ maxUses: 1 })
  assert.equal(m.join(once).state, 'active')
  refused('MESH_TOKEN_INVALID', /used up/, () => m.join(once, 'k2'))
  refused('MESH_TOKEN_INVALID', /not for 10\.9\.0\.1/, () =>
    m.join(m.token({ nodes: 'gw-2', cidrs: ['10.0.0.0/24', '2001:db8::/32'] }), 'k2', { address: '10.9.0.1' }),
  )
  refused('MESH_CONTROL_FORBIDDEN', /is for gw-2, not for gw-1/, () =>
    m.join(m.token({ nodes: 'gw-2' }), 'k2', { name: 'gw-1' }),
  )
  for (const name of ['../etc', 'gw-1/..', "gw-'; --", 'other', 'gw-\u0000'])
    refused('MESH_CONTROL_FORBIDDEN', /is for gw-\*/, () => m.join(m.token({ nodes: 'gw-*' }), 'k2', { name }))
  refused('MESH_CONTROL_FORBIDDEN', /name the device/, () => m.join(m.token({ nodes: 'gw-*' }), 'k2'))
  const short = m.token({ nodes: 'gw-3', ttlSec: 60 })
  m.clock.setWallMs(m.clock.wallMs() + 60_000)
  refused('MESH_TOKEN_INVALID', /ended/, () => m.join(short, 'k3'))
  const gone = m.tokens.create({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-4', ttlSec: 60 })
  m.registry.revokeToken(gone.jti, m.clock.wallMs())
  refused('MESH_TOKEN_INVALID', /revoked/, () => m.join(gone.token, 'k4'))
  assert.deepEqual(
    m.registry.enrollments.all().map((e) => e.name),
    ['gw-1'],
  )
  assert.deepEqual(m.registry.enrollments.requests(), [])
})

test('who is refused has used nothing of the token', () => {
  const m = made()
  const token = m.token({ nodes: 'gw-*', maxUses: 1 })
  refused('MESH_CONTROL_FORBIDDEN', /./, () => m.join(token, 'k1', { name: 'other' }))
  assert.equal(m.join(token, 'k1', { name: 'gw-1' }).state, 'active')
})

test('a join whose answer was lost is made again and is the same join; the key renews, the token is not asked for', () => {
  const m = made()
  const token = m.token({ maxUses: 1 })
  const [one, two] = [m.join(token), m.join(token)]
  assert.deepEqual([two.renewed?.counter, two.renewed?.chain], [one.renewed?.counter, one.renewed?.chain])
  const jti = m.registry.tokens()[0]!.jti
  m.registry.revokeToken(jti, m.clock.wallMs())
  const d = m.machine(two.renewed!)
  d.ask() // its answer is lost
  assert.equal(d.renew(false).counter, 2)
  assert.equal(d.renew().counter, 3)
  assert.deepEqual(events(m.registry), ['device.joined'])
})

test('one key has one name, and a name has one key: another waits for an operator, and ends the one before', () => {
  const m = made()
  const first = m.machine(m.join(m.token()).renewed!)
  refused('MESH_CONTROL_FORBIDDEN', /key is that of gw-1/, () =>
    m.join(m.token({ nodes: 'gw-2' }), 'k1', { nonce: 'b' }),
  )
  assert.equal(m.join(m.token(), 'k2').state, 'pending')
  refused('MESH_DEVICE_PENDING', /belongs to another key, last seen at 10\.0\.0\.1/, () =>
    m.machine({ counter: 0, chain: '' }, '10.0.0.2', 'k2').ask(),
  )
  refused('MESH_CONTROL_FORBIDDEN', /another device waits/, () => m.join(m.token(), 'k3'))
  assert.equal(first.renew().counter, 2, 'until then it is the first one’s')
  approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  assert.equal(m.machine({ counter: 0, chain: '' }, '10.0.0.2', 'k2').renew().counter, 1)
  refused('MESH_DEVICE_UNKNOWN', /no device with the key k1/, () => first.ask())
  assert.equal(m.registry.certificate('s2')?.revokedMs, m.clock.wallMs())
})

for (const { policy, first, second } of [
  { policy: 'older', first: 'goes on', second: 'MESH_DEVICE_CLONED' },
  { policy: 'none', first: 'MESH_DEVICE_REVOKED', second: 'MESH_DEVICE_CLONED' },
  { policy: 'both', first: 'goes on', second: 'goes on' },
] as const)
  test(`two copies are found at the first renewal of the second; policy ${policy}`, () => {
    const m = made({ clones: policy })
    const one = m.machine(m.join(m.token()).renewed!)
    const copy = one.copy('192.0.2.7')
    one.renew()
    const does = (d: typeof one): string => {
      try {
        d.renew()
        return 'goes on'
      } catch (err) {
        return (err as MeshError).code
      }
    }
    assert.deepEqual([does(copy), does(one)], [second, first])
    const { clonedMs, cloneAddresses } = m.registry.enrollments.byName('gw-1')!
    assert.deepEqual([clonedMs, cloneAddresses], [m.clock.wallMs(), '10.0.0.1 and 192.0.2.7'])
    assert.deepEqual(events(m.registry).filter((e) => e === 'device.cloned').length, 1)
    assert.equal(m.registry.certificate('s1')?.revokedMs !== null, policy !== 'both', 'what was copied is good no more')
    assert.equal(m.registry.certificate('s2')?.revokedMs !== null, policy === 'none')
    approveDevice(m.registry, 'gw-1', m.clock.wallMs())
    assert.equal(does(one), 'goes on')
    assert.equal(m.registry.enrollments.byName('gw-1')?.clonedMs, null)
  })

test('a year away: the key alone brings it back and that is written down; after the grace an operator has to look', () => {
  const m = made()
  const d = m.machine(m.join(m.token()).renewed!)
  m.clock.setWallMs(m.clock.wallMs() + 365 * DAY_MS)
  assert.equal(d.renew().counter, 2)
  assert.deepEqual(events(m.registry), ['device.joined', 'device.returned'])
  m.clock.setWallMs(m.clock.wallMs() + 402 * DAY_MS)
  refused('MESH_DEVICE_PENDING', /certificate ended 401 days ago \(enrollment\.graceDays 400\)/, () => d.ask())
  refused('MESH_DEVICE_PENDING', /./, () => d.ask())
  assert.match(approveDevice(m.registry, 'gw-1', m.clock.wallMs()), /401 days ago/)
  assert.equal(d.renew().counter, 3)
  assert.deepEqual(m.registry.enrollments.requests(), [])
})

test('a hub that was restored knows less than its devices: each goes on once, and copies are found again after that', () => {
  const m = made()
  const d = m.machine(m.join(m.token()).renewed!)
  const known = m.registry.enrollments.byName('gw-1')!
  for (let i = 0; i < 3; i++) d.renew()
  m.registry.enrollments.renewed('gw-1', { ...known, nowMs: 1, notAfterMs: known.notAfterMs })
  m.registry.enrollments.resyncAll()
  assert.equal(d.renew().counter, 5)
  const copy = d.copy('192.0.2.7')
  d.renew()
  refused('MESH_DEVICE_CLONED', /./, () => copy.ask())
  assert.deepEqual(events(m.registry), ['device.joined', 'device.resynced', 'device.cloned'])
})

test('revoked by name: neither key nor token lets it in; approved it goes on, forgotten the name is free', () => {
  const m = made()
  const d = m.machine(m.join(m.token()).renewed!)
  d.renew()
  assert.equal(revokeDevice(m.registry, 'gw-1', m.clock.wallMs()), 2)
  refused('MESH_DEVICE_REVOKED', /is revoked/, () => d.ask())
  refused('MESH_DEVICE_REVOKED', /is revoked/, () => m.join(m.token(), 'k9'))
  approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  d.renew()
  refused('MESH_CONFIG_INVALID', /nobody waits as "gw-1"/, () => approveDevice(m.registry, 'gw-1', 1))
  refused('MESH_CONFIG_INVALID', /no device "gw-7" is known/, () => revokeDevice(m.registry, 'gw-7', 1))
  assert.equal(forgetDevice(m.registry, 'gw-1', m.clock.wallMs()), true)
  refused('MESH_DEVICE_UNKNOWN', /./, () => d.ask())
  assert.equal(m.join(m.token(), 'k9').state, 'active')
})

test('approval: of the token or of all; what waits is shown with its reason, and a second request changes nothing', () => {
  const m = made({ approval: 'always' })
  assert.equal(m.join(m.token({ labels: { site: 'north' } })).state, 'pending')
  m.join(m.token())
  assert.deepEqual(
    m.registry.enrollments.requests().map((r) => [r.name, r.labels]),
    [['gw-1', { site: 'north' }]],
  )
  approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  assert.equal(m.machine({ counter: 0, chain: '' }).renew().counter, 1)
})

test('who joins again after an operator’s word is in, and needs no second one', () => {
  const m = made()
  const token = m.token({ approval: true })
  assert.equal(m.join(token).state, 'pending')
  approveDevice(m.registry, 'gw-1', m.clock.wallMs())
  const again = m.join(token)
  assert.deepEqual([again.state, again.renewed?.counter], ['active', 1])
  assert.deepEqual(m.registry.enrollments.requests(), [])
  assert.equal(m.machine(again.renewed!).renew().counter, 2)
})

test('a copy that knows the last nonce does not come in by the token again: not when kept out, not past a renewal', () => {
  const m = made({ clones: 'none' })
  const token = m.token()
  const d = m.machine(m.join(token).renewed!)
  const copy = d.copy('192.0.2.7')
  d.renew()
  const { nonce } = m.registry.enrollments.byName('gw-1')!
  assert.equal(m.join(token, 'k1', { nonce }).state, 'pending', 'past a renewal')
  forgetDevice(m.registry, 'gw-1', m.clock.wallMs())
  const e = m.machine(m.join(token, 'k1', { nonce }).renewed!)
  e.renew()
  refused('MESH_DEVICE_CLONED', /./, () => copy.ask())
  const last = m.registry.enrollments.byName('gw-1')!
  assert.equal(last.state, 'suspended')
  assert.equal(m.join(token, 'k1', { nonce: last.nonce }).renewed, undefined, 'kept out')
})
