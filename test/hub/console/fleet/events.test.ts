import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../../core/log.ts'
import { Operator } from '../../../../hub/console/access.ts'
import { Events, filterEvent, type ConsoleEvent } from '../../../../hub/console/fleet/events.ts'
import { FleetView } from '../../../../hub/console/fleet/view.ts'
import { openRegistry } from '../../../../hub/registry/registry.ts'
import type { Session } from '../../../../hub/registry/console-sessions.ts'
import { REPORT } from '../../../helpers/control-plane/report.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const applicant = (name: string, namespace = 'edge') => ({
  name,
  keyId: `k-${name}`,
  namespace,
  serviceAccount: 'gw',
  jti: null,
  labels: {},
  address: '',
})

async function rig() {
  const registry = openRegistry(':memory:')
  const clock = new SimClock()
  const view = new FleetView(registry, clock)
  const events = new Events({
    view,
    audit: registry.audit,
    reports: registry.reports,
    clock,
    log: silentLog,
    epoch: 'e',
  })
  const heard: ConsoleEvent[] = []
  const hear = (last?: string) => events.listen((event) => heard.push(event), last)
  const look = async () => {
    await clock.advance(1_500)
  }
  return { registry, clock, events, heard, hear, look, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() }
}

test('whoever listens hears which devices changed, and what was done, within a second or two', async () => {
  await using r = await rig()
  await r.registry.enrollments.enroll(applicant('gw-1'), 1)
  using _listening = r.hear()
  await r.look()
  const kinds = () => r.heard.splice(0).map(({ kind }) => kind)
  assert.deepEqual(kinds(), ['reset', 'ready'], 'what was there before is asked for')
  await r.registry.enrollments.enroll(applicant('gw-2'), 1)
  await r.registry.audit.add({ atMs: 1, actor: 'x', event: 'token.created', subject: 's', address: '', detail: '' })
  await r.look()
  assert.deepEqual(r.heard.map(({ kind }) => kind).toSorted(), ['changed', 'devices'])
  const devices = r.heard.find((event) => event.kind === 'devices')
  assert.deepEqual(devices?.kind === 'devices' && devices.changed.map(({ name }) => name), ['gw-2'])
})

test('a page whose connection broke hears what it missed, or that it must ask anew', async () => {
  await using r = await rig()
  using _other = r.events.listen(() => {})
  await r.look()
  await r.registry.enrollments.enroll(applicant('gw-1'), 1)
  await r.look()
  await r.registry.enrollments.enroll(applicant('gw-2'), 1)
  await r.look()
  using _again = r.hear('e-1')
  assert.deepEqual(
    r.heard.map(({ id, kind }) => [id, kind]),
    [
      [2, 'devices'],
      [2, 'ready'],
    ],
  )
  for (const last of ['other-1', 'e-99', 'e-', '', 'e--1', 'e-1e999', `e-${'9'.repeat(60)}`]) {
    r.heard.length = 0
    using _stranger = r.hear(last)
    assert.deepEqual(
      r.heard.map(({ kind }) => kind),
      ['reset', 'ready'],
      JSON.stringify(last),
    )
  }
})

test('more than a page can take at once is told as a reset', async () => {
  await using r = await rig()
  using _listening = r.hear()
  await r.look()
  r.heard.length = 0
  await r.registry.exclusively(async (tx) => {
    for (let i = 0; i < 300; i++) await tx.enrollments.enroll(applicant(`gw-${i}`), 1)
  })
  await r.look()
  assert.deepEqual(
    r.heard.map(({ kind }) => kind),
    ['reset'],
  )
})

test('what happens between a page and its first stream is not missed: it asks anew when something can be compared', async () => {
  await using r = await rig()
  await r.clock.advance(10_000)
  using _listening = r.hear()
  assert.deepEqual(r.heard, [], 'nothing is there yet to compare with')
  await r.registry.enrollments.enroll(applicant('gw-1'), 1)
  await r.look()
  assert.deepEqual(
    r.heard.map(({ kind }) => kind),
    ['reset', 'ready'],
  )
})

test('nobody listens: nothing is read, and no timer is left', async () => {
  await using r = await rig()
  r.hear()[Symbol.dispose]()
  await r.look()
  await r.look()
  assert.equal(r.clock.pendingTimers, 0)
})

test('an operator hears of their own namespaces alone', () => {
  const lab = new Operator({ grants: [{ namespace: 'lab', role: 'viewer' }] } as unknown as Session)
  const row = (namespace: string) => ({ name: 'x', namespace }) as never
  const event: ConsoleEvent = { id: 1, kind: 'devices', changed: [row('edge'), row('lab')], removed: [row('edge')] }
  const own = filterEvent(event, lab)
  assert.deepEqual(own?.kind === 'devices' && [own.changed.length, own.removed.length], [1, 0])
  assert.equal(filterEvent({ ...event, changed: [row('edge')] } as ConsoleEvent, lab), undefined)
})

test('whose report came is told to those who may see the device, once, whichever hub it came to', async () => {
  await using r = await rig()
  const write = (name: string, atMs: number) =>
    r.registry.reports.write([{ name, atMs, restarts: 0, expected: '', report: REPORT }], [])
  for (const [name, namespace] of [
    ['gw-1', 'edge'],
    ['gw-2', 'lab'],
  ] as const) {
    await r.registry.enrollments.enroll(applicant(name, namespace), 1)
    await write(name, r.clock.wallMs())
  }
  using _listening = r.hear()
  await r.look()
  r.heard.length = 0
  await r.look()
  assert.equal(r.heard.length, 0)
  await write('gw-1', r.clock.wallMs())
  // A hub whose clock is late.
  await write('gw-2', r.clock.wallMs() - 4_000)
  await write('nobody', r.clock.wallMs())
  await r.look()
  await r.look()
  const heard: readonly ConsoleEvent[] = [...r.heard]
  const reported = heard.filter((event) => event.kind === 'reported')
  assert.deepEqual(reported.flatMap(({ devices }) => devices.map(({ name }) => name)).toSorted(), ['gw-1', 'gw-2'])
  const session = { grants: [{ namespace: 'lab', role: 'viewer' }] } as unknown as Session
  const seen = reported.map((event) => filterEvent(event, new Operator(session)))
  assert.deepEqual(
    seen.flatMap((event) => (event?.kind === 'reported' ? event.devices.map(({ name }) => name) : [])),
    ['gw-2'],
  )
})
