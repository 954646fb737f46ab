/** What a device at rest moves in a month, on the wire: real TLS and frames, the time that passes is simulated. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import { createRelayAsk } from '../../../control-sync/fleet/device/relay-request.ts'
import { refuseStream, RelayLink } from '../../../control-sync/fleet/relay-link.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { RENEW_PATH, type Renewed } from '../../../model/fleet/enrollment.ts'
import { KeepAlive } from '../../../core/relay/keep-alive.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { makeCsr } from '../../hub/ca/make-csr.ts'
import { fleet, keyed, leave, services, until, whole } from '../../hub/relay/rig.ts'
import { passage } from './passage.ts'

const MINUTE_MS = 60_000
const MONTH_MS = 30 * 24 * 60 * MINUTE_MS
const SILENCE = { minMs: 50_000, maxMs: 30 * MINUTE_MS }
const MAX_MONTH_BYTES = 1_000_000
/** Certificates live for a day and are renewed at half of it, within 5 %. */
const RENEWALS = Math.ceil(MONTH_MS / (24 * 60 * MINUTE_MS * 0.45))
/** Hubs are updated, lines fail; after so long without one by a whole handshake. */
const RECONNECTS = 30
/** IPv4 and TCP with timestamps, for a packet and for the one that acknowledges it (RFC 7323 §3.2). */
const PACKET_PAIR_BYTES = 2 * 52

/** @returns pings that were answered */
async function passMonth(clock: SimClock, readHeard: () => number): Promise<number> {
  // As the link does it: the next silence is over when its ping goes out.
  const learnt = new KeepAlive()
  let [pings, passedMs] = [0, 0]
  for (;;) {
    const silenceMs = Math.ceil(learnt.computeSilenceMs(SILENCE))
    if (passedMs + silenceMs > MONTH_MS) return pings
    const heard = readHeard()
    await clock.advance(silenceMs)
    passedMs += silenceMs
    pings++
    await until(() => readHeard() > heard, 'the ping is answered')
    learnt.noteSurvived(silenceMs)
  }
}

async function renew(link: RelayLink, control: ControlPlane, device: Awaited<ReturnType<typeof keyed>>): Promise<void> {
  const { counter, chain } = device.stands
  const nonce = randomBytes(16).toString('base64url')
  const claims = { counter, chain, nonce, ttlSec: 0, csr: makeCsr().csrPem }
  const { body } = await createRelayAsk(link, control, systemClock)(RENEW_PATH, claims)
  device.stands = { ...(body as Renewed), nonce: undefined }
}

test('a device at rest moves less than a megabyte a month, once the keep-alive has learnt the way', async (t) => {
  const f = await fleet(t, services(100))
  const { port, state } = await passage(t, f.h.hub.relayPort!)
  const device = await keyed(f.h, 'gw-1')
  const clock = new SimClock()
  const certificateClock = { nowMs: () => Date.now(), clockIsWrong: false, seen: () => undefined }
  let heardBytes = 0
  const wire: ControlPlane['wire'] = (direction, bytes) => {
    if (direction === 'received') heardBytes += bytes
  }
  const control = { ...f.control, wire, addresses: [`wss://127.0.0.1:${port}`], certificateClock }
  const link = new RelayLink({ control, identity: () => undefined, clock, onStream: refuseStream, device })
  const readHeard = (): number => {
    link.readWire()
    return heardBytes
  }
  const first = f.agent(undefined, undefined, link)
  await whole(first, 100)

  let before = state.bytes
  const pings = await passMonth(clock, readHeard)
  const silent = state.bytes - before
  assert.equal(link.quality.connections, 1)

  before = state.bytes
  await renew(link, control, device)
  const renewal = state.bytes - before

  await leave(f, first)
  before = state.bytes
  const acked = (): number =>
    f.h.metrics.counter('mesh_hub_ads_requests_total', '', ['outcome']).cell({ outcome: 'ack' }).value
  const asked = acked()
  f.agent(first, undefined, link)
  await until(() => acked() >= asked + 4, 'everything is acknowledged')
  const reconnect = state.bytes - before

  const all = silent + RENEWALS * renewal + RECONNECTS * reconnect
  const packets = 2 * pings + 6 * RENEWALS + 12 * RECONNECTS
  const onTheLine = all + packets * PACKET_PAIR_BYTES
  t.diagnostic(
    `${pings} pings: ${silent} bytes; ${RENEWALS} renewals of ${renewal}; ${RECONNECTS} reconnects of ${reconnect}`,
  )
  t.diagnostic(`a month at rest: ${all} bytes with TLS, about ${onTheLine} with TCP and IP`)
  assert.ok(pings > 1_400 && pings < 1_600, `${pings}`)
  assert.ok(onTheLine <= MAX_MONTH_BYTES)
})
