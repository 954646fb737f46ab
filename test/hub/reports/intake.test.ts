/** Reports of devices over the relay of a real hub, and those of devices that want to do harm. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MeshError } from '../../../core/errors.ts'
import { packMessage } from '../../../core/relay/compression.ts'
import type { Mux } from '../../../core/relay/mux.ts'
import type { Registry } from '../../../hub/registry/registry.ts'
import { EventLog } from '../../../hub/reports/event-log.ts'
import { ReportIntake } from '../../../hub/reports/intake.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { encodeReport, splitReport } from '../../../model/fleet/report-message.ts'
import { openSqlite } from '../../../hub/registry/sqlite.ts'
import { Registry as OneRegistry } from '../../../hub/registry/registry.ts'
import { Writer } from '../../../core/relay/text.ts'
import type { Report } from '../../../model/fleet/report.ts'
import type { ReportDetails } from '../../../model/fleet/report-details.ts'
import { DETAILS, REPORT } from '../../helpers/control-plane/report.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { fleet, services, until, whole, type Fleet } from '../relay/rig.ts'

const MESH = services(3)
const WHOLE = packMessage(encodeReport(splitReport(REPORT), new Map()), { withDictionary: true })
async function eventually(look: () => Promise<boolean>, label: string): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await look()) return
    await sleep(10)
  }
  assert.fail(`never: ${label}`)
}
const latest = ({ h }: Fleet) => h.hub.registry.reports.latest('gw-1')
const events = async ({ h }: Fleet): Promise<string[]> =>
  (await h.hub.registry.deviceEvents.last({ device: 'gw-1', most: 100 })).map(
    ({ event, reason }) => `${event}: ${reason}`,
  )

test('what a device says of itself stands in the registry, with the hash that the hub computes', async (t) => {
  const f = await fleet(t, MESH)
  let over: Partial<Report> = {}
  const agent = f.reportingAgent(() => over)
  await whole(agent, 3)
  const agree = async (): Promise<boolean> => {
    const known = await latest(f)
    return known !== undefined && known.report.content === known.expected && known.report.desired !== ''
  }
  await eventually(agree, 'both have the same')
  const first = (await latest(f))!
  assert.match(first.expected, /^[0-9a-f]{24}$/)
  assert.notEqual(first.report.revision, '')
  assert.equal(first.report.revision, first.report.desired)
  // One line of a file: the revision is another one, on both sides.
  f.h.write(
    'mesh.json',
    services(3, () => 9),
  )
  await eventually(async () => (await latest(f))!.report.revision !== first.report.revision, 'the next revision')
  await eventually(agree, 'both have the same again')
  assert.notEqual((await latest(f))!.expected, first.expected)
  over = { run: 5, problems: [{ code: 'MESH_STORAGE_FULL', text: 'full' }] }
  await eventually(async () => (await latest(f))!.restarts === 1, 'it has started anew')
  await agent[Symbol.asyncDispose]()
  await eventually(async () => (await events(f)).some((e) => e.startsWith('disconnected')), 'its end')
  const told = await events(f)
  assert.match(told[0]!, /^connected: over the relay, by certificate$/)
  assert.ok(told.includes('started: anew, version 0.9.0'))
  assert.ok(told.includes('problem: MESH_STORAGE_FULL: full'))
  const [minute] = await f.h.hub.registry.reports.history('gw-1', 'hour', 0)
  assert.equal(minute!.problems, 1)
})

/** A stream of reports, and why it was reset. */
function speak(mux: Mux, ...messages: readonly Uint8Array[]): Promise<string> {
  return new Promise((resolve) => {
    const stream = mux.open('report')
    stream.listen({
      onMessage: () => undefined,
      onReset: ({ code, message }: MeshError) => resolve(`${code} ${message}`),
    })
    for (const message of messages) stream.send(message)
  })
}

test('what is no report ends its stream, and neither the connection nor the registry notice', async (t) => {
  const f = await fleet(t, MESH)
  const { mux } = await f.link().connect({ certificateRefused: false })
  assert.match(await speak(mux, Buffer.from([9, 9, 9])), /^MESH_CONTROL_PROTOCOL.*unknown way/)
  assert.match(
    await speak(mux, packMessage(Buffer.alloc(2), { withDictionary: false })),
    /^MESH_CONTROL_PROTOCOL.*layout/,
  )
  assert.match(await speak(mux, Buffer.alloc(50_000)), /^MESH_CONTROL_PROTOCOL.*more than 49152 bytes/)
  const bomb = packMessage(Buffer.alloc(10_000_000), { withDictionary: false })
  assert.ok(bomb.length < 49_152)
  assert.match(await speak(mux, bomb), /^MESH_CONTROL_PROTOCOL.*cannot be unpacked/)
  // What differs from nothing is not whole.
  const half = encodeReport(splitReport({ ...REPORT, state: 'draining' }), splitReport(REPORT))
  assert.match(await speak(mux, packMessage(half, { withDictionary: true })), /^MESH_CONTROL_PROTOCOL.*is missing/)
  mux.open('report').listen({ onMessage: () => undefined })
  assert.match(await speak(mux), /^MESH_CONTROL_PROTOCOL.*one stream of reports/)
  assert.equal((await f.h.hub.registry.reports.all()).length, 0)
  assert.match(f.h.metrics.text(), /mesh_hub_reports_refused_total\{code="MESH_CONTROL_PROTOCOL"\} 5/)
})

test('services and queues stand with the report of the device that has them, however many names it sends', async (t) => {
  const f = await fleet(t, MESH)
  const row = DETAILS.services.rows[3]!
  let details: ReportDetails = DETAILS
  const agent = f.reportingAgent(() => ({ details }))
  await whole(agent, 3)
  await eventually(async () => (await latest(f))?.report.details !== undefined, 'they are told')
  assert.deepEqual((await latest(f))!.report.details, JSON.parse(JSON.stringify(DETAILS)))
  details = { ...DETAILS, services: { rows: [{ ...row, healthy: 0 }], more: 7 } }
  await eventually(async () => (await latest(f))!.worst?.down === 1, 'what has changed')
  assert.deepEqual((await latest(f))!.report.details!.services, { rows: [{ ...row, healthy: 0 }], more: 7 })
  await agent[Symbol.asyncDispose]()
  const { mux } = await f.link().connect({ certificateRefused: false })
  const names = new Writer().number(0).number(10_000)
  for (let i = 0; i < 10_000; i++) names.text('x')
  const fields = new Map([...splitReport({ ...REPORT, details: DETAILS }), [15, names.finish()] as const])
  assert.match(
    await speak(mux, packMessage(encodeReport(fields, new Map()), { withDictionary: true })),
    /^MESH_CONTROL_PROTOCOL.*(10000 entries|10000 services)/,
  )
  assert.equal((await latest(f))!.report.details!.services.more, 7)
})

test('a report counts for the node of the connection, and for nobody where it has none', async (t) => {
  const f = await fleet(t, MESH)
  const { mux } = await f.link().connect({ certificateRefused: false })
  const stream = mux.open('report').listen({ onMessage: () => undefined })
  stream.send(WHOLE)
  const agent = f.reportingAgent(() => ({ version: 'mine' }))
  await whole(agent, 3)
  await eventually(async () => (await latest(f)) !== undefined, 'the report of the node')
  assert.deepEqual(
    (await f.h.hub.registry.reports.all()).map(({ name, report }) => [name, report.version]),
    [['gw-1', 'mine']],
  )
})

test('who reports too often is refused, and counted', async (t) => {
  const f = await fleet(t, MESH, 'limits: {maxReportsPerMinute: 5}\n')
  const { mux } = await f.link().connect({ certificateRefused: false })
  assert.match(await speak(mux, ...Array.from({ length: 6 }, () => WHOLE)), /^MESH_CONTROL_SLOW_DOWN/)
  assert.match(f.h.metrics.text(), /mesh_hub_budget_exceeded_total\{budget="reports"\} 1/)
  await until(() => f.h.lines.some((l) => l['evt'] === 'hub.report-refused'), 'a line says so')
})

test('words of a device reach the log and the registry without what a terminal would obey', async (t) => {
  const f = await fleet(t, MESH)
  const evil = '\u001b[2J=cmd|x'
  const agent = f.reportingAgent(() => ({ problems: [{ code: evil, text: evil }], version: evil }))
  await whole(agent, 3)
  await eventually(async () => (await events(f)).some((e) => e.startsWith('problem')), 'the event')
  const { report } = (await latest(f))!
  for (const text of [report.version, report.problems[0]!.text, ...(await events(f))])
    assert.ok(!text.includes('\u001b'), text)
  assert.equal((await latest(f))!.report.version, '\\u001b[2J=cmd|x')
})

test('what cannot be written is written later, and counts are told once', async () => {
  const clock = new SimClock()
  const registry = new OneRegistry(openSqlite(':memory:'))
  const { write } = registry.reports
  let isBroken = true
  let during = (): void => {}
  registry.reports.write = async function (this: Registry['reports'], ...all) {
    if (isBroken) {
      during()
      throw new Error('disk full')
    }
    await write.apply(this, all)
  }
  const events = new EventLog({ registry, clock, log: silentLog })
  const intake = new ReportIntake({ registry, events, clock, log: silentLog, metrics: new Metrics() })
  const counted = (requests: number): Report => ({ ...REPORT, quantities: { ...REPORT.quantities, requests } })
  intake.connection('gw-1', { isConnected: true, reason: '' })
  intake.take('gw-1', counted(100), 'x')
  // While it is being written, the device leaves.
  during = () => {
    during = () => {}
    intake.connection('gw-1', { isConnected: false, reason: '' })
  }
  await clock.advance(1_000)
  assert.equal(await registry.reports.latest('gw-1'), undefined)
  isBroken = false
  intake.connection('gw-2', { isConnected: true, reason: '' })
  await clock.advance(1_500)
  assert.equal((await registry.reports.latest('gw-1'))!.report.quantities.requests, 100)
  const [minute] = await registry.reports.history('gw-1', 'minute', 0)
  assert.deepEqual([minute!.connected, minute!.connects], [false, 1])
  intake.take('gw-1', counted(130), 'x')
  await clock.advance(1_500)
  // Another process of the device: it counts from nothing.
  intake.take('gw-1', { ...counted(7), run: 1 }, 'x')
  await clock.advance(1_500)
  const [hour] = await registry.reports.history('gw-1', 'hour', 0)
  assert.equal(hour!.requests, 100 + 30 + 7)
  await intake[Symbol.asyncDispose]()
  await events[Symbol.asyncDispose]()
  const told = (await registry.deviceEvents.last({ device: 'gw-1', most: 10 })).map(({ event }) => event)
  assert.deepEqual(
    told.filter((event) => !event.endsWith('connected')),
    ['revision', 'started'],
  )
})
