import assert from 'node:assert/strict'
import { Reports, type HistoryChange, type StoredReport } from '../../../hub/registry/reports.ts'
import type { Report } from '../../../model/fleet/report.ts'
import type { ReportDetails } from '../../../model/fleet/report-details.ts'
import { testStores } from './on-stores.ts'
import { DETAILS, REPORT } from '../../helpers/control-plane/report.ts'

const DAY_MS = 86_400_000
const AT_MS = Math.floor(1_700_000_000_000 / 3_600_000) * 3_600_000
const stored = (name: string, over: Partial<StoredReport> = {}): StoredReport => ({
  name,
  atMs: AT_MS,
  restarts: 0,
  expected: '',
  report: JSON.parse(JSON.stringify(REPORT)) as Report,
  ...over,
})
const point = (over: Partial<HistoryChange> = {}): HistoryChange => ({
  name: 'gw-1',
  atMs: AT_MS,
  connected: null,
  connects: 0,
  rttMs: null,
  bytes: 0,
  spool: 0,
  requests: 0,
  failures: 0,
  drops: 0,
  problems: 0,
  ...over,
})
const testReports = (title: string, work: (reports: Reports) => Promise<void>): void =>
  testStores(title, async (open) => {
    await using store = await open()
    await work(new Reports(store))
  })

testReports('the newest report of a device is found by its name, and all by theirs, page by page', async (reports) => {
  await reports.write([stored('b'), stored('a'), stored('c')], [])
  await reports.write(
    [stored('b', { restarts: 3, expected: 'x', report: { ...stored('b').report, state: 'draining' } })],
    [],
  )
  assert.deepEqual(
    await reports.latest('b'),
    stored('b', { restarts: 3, expected: 'x', report: { ...stored('b').report, state: 'draining' } }),
  )
  assert.equal(await reports.latest("b' OR 1=1 --"), undefined)
  assert.deepEqual(
    (await reports.all()).map(({ name }) => name),
    ['a', 'b', 'c'],
  )
  assert.deepEqual(
    (await reports.page('a', 1)).map(({ name }) => name),
    ['b'],
  )
})

testReports('services and queues are read of one device alone; of all, how bad they are', async (reports) => {
  const down = DETAILS.services.rows.map((row, i) => (i < 2 ? { ...row, healthy: 0 } : row))
  const details = JSON.parse(
    JSON.stringify({ ...DETAILS, services: { rows: [...down, { ...down[0]!, endpoints: 0 }], more: 3 } }),
  ) as ReportDetails
  const { report } = stored('a')
  await reports.write([stored('a', { report: { ...report, details } }), stored('b')], [])
  assert.deepEqual(await reports.latest('a'), stored('a', { report: { ...report, details }, worst: WORST }))
  assert.deepEqual(await reports.all(), [stored('a', { worst: WORST }), stored('b')])
  // An older version of meshlet is started on it.
  await reports.write([stored('a')], [])
  assert.deepEqual(await reports.latest('a'), stored('a'))
})
const WORST = { queue: 412, down: 2 }

testReports('whose report came last is found, the newest first, and not too many', async (reports) => {
  await reports.write([stored('a'), stored('b', { atMs: AT_MS + 2 }), stored('c', { atMs: AT_MS + 1 })], [])
  assert.deepEqual(await reports.newest(2), [
    { name: 'b', atMs: AT_MS + 2 },
    { name: 'c', atMs: AT_MS + 1 },
  ])
})

testReports('what comes within a minute is one point of it, and of its hour', async (reports) => {
  await reports.write([], [point({ connected: true, connects: 1, requests: 5, spool: 9, rttMs: 40 })])
  await reports.write([], [point({ atMs: AT_MS + 59_000, requests: 2, spool: 3, problems: 1 })])
  await reports.write([], [point({ atMs: AT_MS + 60_000, requests: 1, connected: false, rttMs: 80 })])
  await reports.write([], [point({ atMs: AT_MS + 120_000, failures: 1 })])
  const seen = (await reports.history('gw-1', 'minute', 0)).map((p) => [
    p.connected,
    p.connects,
    p.requests,
    p.spool,
    p.rttMs,
    p.problems,
  ])
  assert.deepEqual(seen, [
    [true, 1, 7, 9, 40, 1],
    [false, 0, 1, 0, 80, 0],
    [false, 0, 0, 0, null, 0],
  ])
  const [hour, ...more] = await reports.history('gw-1', 'hour', 0)
  assert.deepEqual(
    [hour!.requests, hour!.failures, hour!.spool, hour!.connected, hour!.rttMs, more.length],
    [8, 1, 9, false, 80, 0],
  )
})

testReports(
  'minutes are kept for a day and hours for ninety, and a device that is forgotten leaves nothing',
  async (reports) => {
    await reports.write([stored('gw-1')], [point(), point({ name: 'gw-2' })])
    const left = async (): Promise<number[]> => [
      (await reports.history('gw-1', 'minute', 0)).length,
      (await reports.history('gw-1', 'hour', 0)).length,
    ]
    assert.equal(await reports.prune(AT_MS + DAY_MS), 0)
    assert.equal(await reports.prune(AT_MS + DAY_MS + 60_000), 2)
    assert.deepEqual(await left(), [0, 1])
    await reports.prune(AT_MS + 91 * DAY_MS)
    assert.deepEqual(await left(), [0, 0])
    await reports.write([stored('gw-1')], [point()])
    await reports.forget('gw-1')
    assert.deepEqual([await reports.latest('gw-1'), ...(await left())], [undefined, 0, 0])
  },
)
