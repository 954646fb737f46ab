import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../core/current.ts'
import { MeshError } from '../../core/errors.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import { Applier } from '../../control-sync/apply.ts'
import { startSync, type Sync } from '../../control-sync/sync.ts'
import type { AdsStreamEvents } from '../../control-sync/ads/transport.ts'
import { AuthorizationAge, closeInbound } from '../../control-sync/authorization-age.ts'
import { decode } from '../../control-sync/decode/decode.ts'
import { golden } from '../helpers/control-plane/resources.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'
import { httpListener } from '../helpers/control-plane/synced-agent.ts'

const HOUR_MS = 3_600_000
function made(maxAgeMs = HOUR_MS): { clock: SimClock; age: AuthorizationAge; link: { up: boolean }; said: boolean[] } {
  const clock = new SimClock()
  const link = { up: false }
  const said: boolean[] = []
  const age: AuthorizationAge = new AuthorizationAge({
    clock,
    maxAgeMs,
    isConnected: () => link.up,
    changed: () => {
      said.push(age.expired)
    },
  })
  return { clock, age, link, said }
}

test('policies expire when the control plane was away for longer than they may be old, and hold again with the next contact', async () => {
  const { clock, age, said } = made()
  age.contact()
  await clock.advance(HOUR_MS - 1)
  assert.equal(age.expired, false)
  await clock.advance(1)
  assert.equal(age.expired, true)
  age.contact()
  assert.deepEqual(said, [true, false])
})

test('a stream that is up and silent is contact', async () => {
  const { clock, age, link } = made()
  age.contact()
  link.up = true
  await clock.advance(100 * HOUR_MS)
  assert.equal(age.expired, false)
  link.up = false
  await clock.advance(HOUR_MS)
  assert.equal(age.expired, true)
})

test('a link that breaks was contact until then: the whole time counts from there, and not from the last push', async () => {
  const { clock, age, link } = made()
  age.contact()
  link.up = true
  await clock.advance(HOUR_MS - 1)
  link.up = false
  age.contact()
  await clock.advance(HOUR_MS - 1)
  assert.equal(age.expired, false)
  await clock.advance(1)
  assert.equal(age.expired, true)
})

test('the time before the start counts: a device that was off for a year begins with closed listeners', async () => {
  const year = made()
  year.age.restored(year.clock.wallMs() - 8_760 * HOUR_MS)
  assert.equal(year.age.expired, true)
  const half = made()
  half.age.restored(half.clock.wallMs() - HOUR_MS / 2)
  assert.equal(half.age.expired, false)
  await half.clock.advance(HOUR_MS / 2)
  assert.equal(half.age.expired, true)
})

test('never heard of is too old, and a clock that went back gives no more than the whole time', async () => {
  const never = made()
  never.age.restored(undefined)
  assert.equal(never.age.expired, true)
  const back = made()
  back.age.restored(back.clock.wallMs() + 1_000 * HOUR_MS)
  await back.clock.advance(HOUR_MS)
  assert.equal(back.age.expired, true)
})

test('0 means for ever', async () => {
  const { clock, age } = made(0)
  age.restored(undefined)
  await clock.advance(1_000 * HOUR_MS)
  assert.equal(age.expired, false)
})

test('what closes is inbound, whole, and says why; outbound goes on', () => {
  const listeners = golden('istiod-sidecar')
    .filter((s) => s.kind === 'listener')
    .map(({ bytes }) => {
      const decoded = decode('listener', bytes)
      assert.ok(decoded.ok)
      return decoded.value
    })
  const inbound = listeners.filter((l) => l.direction === 'inbound')
  assert.ok(inbound.length > 0 && listeners.length > inbound.length)
  for (const listener of listeners) {
    const closed = closeInbound(listener)
    if (listener.direction !== 'inbound') {
      assert.equal(closed, listener)
      const ofGateway = closeInbound(listener, true)
      assert.ok(ofGateway.filterChains.every((c) => c.codec.kind === 'blocked'))
      continue
    }
    for (const chain of [...closed.filterChains, ...(closed.defaultFilterChain ? [closed.defaultFilterChain] : [])]) {
      assert.ok(chain.codec.kind === 'blocked' && chain.codec.reason.includes('control.authorizationMaxAgeMs'))
    }
  }
})

test('a good link on which nothing is pushed: inbound listeners stay open, and close when it has been away for as long as policies may be old', async () => {
  const clock = new SimClock()
  const tables = new Current<Tables>(EMPTY_TABLES)
  const shared = { clock, log: silentLog, metrics: new Metrics() }
  let events: AdsStreamEvents | undefined
  let isUp = true
  const inbound = httpListener('in', '80', { direction: 'INBOUND' })
  const applier: Applier = new Applier({
    ...shared,
    node: 'n',
    tables,
    saver: undefined,
    authorization: { maxAgeMs: 60_000, isConnected: () => sync.link.state === 'connected' },
  })
  const sync: Sync = startSync({
    ...shared,
    applier,
    random: { float: () => 0.5 },
    shrinkHoldMs: 0,
    refusedRetryMs: 0,
    refusedRetryMaxMs: 1,
    trustBundle: false,
    ownRoutes: new Current<ReadonlySet<string>>(new Set()),
    transport: {
      address: 'a:1',
      open: async (e) => {
        if (!isUp) throw new MeshError('MESH_CONTROL_UNREACHABLE', 'cut')
        events = e
        return { send: () => undefined, close: () => undefined }
      },
    },
  })
  await settle()
  events!.onResponse({
    kind: 'listener',
    nonce: '1',
    systemVersion: '',
    removed: [],
    resources: [{ name: inbound.name, version: '', value: inbound.bytes }],
  })
  await settle()
  const isOpen = (): boolean =>
    [...tables.get().listeners.get('in')!.filterChains].every((c) => c.codec.kind !== 'blocked')
  for (let minutes = 0; minutes < 90; minutes += 1) {
    await clock.advance(59_000)
    assert.equal(isOpen(), true)
  }
  isUp = false
  events!.onEnd(new MeshError('MESH_CONTROL_UNREACHABLE', 'cut'))
  await settle()
  await clock.advance(59_000)
  assert.equal(isOpen(), true)
  await clock.advance(1_000)
  assert.equal(isOpen(), false)
  await sync[Symbol.asyncDispose]()
})
