import { test } from 'node:test'
import assert from 'node:assert/strict'
import { AuthorizationAge, closedInbound } from '../../control-sync/authorization-age.ts'
import { decode } from '../../control-sync/decode/decode.ts'
import { golden } from '../helpers/resources.ts'
import { SimClock } from '../helpers/sim-clock.ts'

const HOUR_MS = 3_600_000
function made(maxAgeMs = HOUR_MS): { clock: SimClock; age: AuthorizationAge; link: { up: boolean }; said: boolean[] } {
  const clock = new SimClock()
  const link = { up: false }
  const said: boolean[] = []
  const age: AuthorizationAge = new AuthorizationAge({ clock, maxAgeMs, isConnected: () => link.up, changed: () => { said.push(age.expired) } })
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
  const listeners = golden('istiod-sidecar').filter((s) => s.kind === 'listener').map(({ bytes }) => {
    const decoded = decode('listener', bytes)
    assert.ok(decoded.ok)
    return decoded.value
  })
  const inbound = listeners.filter((l) => l.direction === 'inbound')
  assert.ok(inbound.length > 0 && listeners.length > inbound.length)
  for (const listener of listeners) {
    const closed = closedInbound(listener)
    if (listener.direction !== 'inbound') { assert.equal(closed, listener); continue }
    for (const chain of [...closed.filterChains, ...(closed.defaultFilterChain ? [closed.defaultFilterChain] : [])]) {
      assert.ok(chain.codec.kind === 'blocked' && chain.codec.reason.includes('control.authorizationMaxAgeMs'))
    }
  }
})
