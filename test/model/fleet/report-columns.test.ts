import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../../../core/errors.ts'
import { packMessage } from '../../../core/relay/compression.ts'
import { Writer } from '../../../core/relay/text.ts'
import { REPORT_LIMITS, type Report } from '../../../model/fleet/report.ts'
import {
  QUEUE_KINDS,
  QUEUE_STATES,
  type ReportDetails,
  type ReportedQueue,
  type ReportedService,
} from '../../../model/fleet/report-details.ts'
import { decodeReport, encodeReport, findChanges, splitReport } from '../../../model/fleet/report-message.ts'
import { DETAILS, REPORT } from '../../helpers/control-plane/report.ts'

const NOTHING = new Map<number, Buffer>()
const withDetails = (details: ReportDetails): Report => ({ ...REPORT, details })
const encode = (report: Report): Buffer => encodeReport(splitReport(report), NOTHING)
const pass = (details: ReportDetails): ReportDetails =>
  decodeReport(encode(withDetails(details)), undefined).details as ReportDetails
const byName = <T extends { readonly name: string }>(rows: readonly T[]): T[] =>
  rows.toSorted((a, b) => (a.name < b.name ? -1 : 1))

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const seconds = fc.integer({ min: 1, max: 4_000_000_000 }).map((s) => s * 1_000)
const name = fc.string({ unit: fc.constantFrom('a', 'Z', '0', '|', '/', 'ä', '語'), maxLength: 30 })
const sums = { messages: count, bytes: count, drops: count }
const details: fc.Arbitrary<ReportDetails> = fc.record({
  services: fc.record({
    rows: fc
      .uniqueArray(fc.record({ name, endpoints: count, healthy: count, connections: count }), {
        selector: (row) => row.name,
        maxLength: 12,
      })
      .map(byName),
    more: count,
  }),
  queues: fc.record({
    rows: fc
      .uniqueArray(
        fc.record({
          kind: fc.constantFrom(...QUEUE_KINDS),
          name,
          state: fc.constantFrom(...QUEUE_STATES),
          ...sums,
          sinceMs: fc.option(seconds, { nil: undefined }),
        }),
        { selector: (row) => row.name, maxLength: 12 },
      )
      .map(byName),
    more: fc.record({ queues: count, ...sums }),
  }),
})

test('services and queues, and what differs of them, come as they were sent', () => {
  fc.assert(
    fc.property(details, details, (one, other) => {
      const [first, second] = structuredClone([withDetails({ ...one }), withDetails({ ...other })])
      const got = decodeReport(encode(first!), undefined)
      assert.deepEqual(got, first)
      assert.deepEqual(decodeReport(encodeReport(splitReport(second!), splitReport(first!)), got), second)
    }),
  )
})

test('a device that names none, as an older one, is understood, and one that begins to', () => {
  const got = decodeReport(encode(REPORT), undefined)
  assert.equal(got.details, undefined)
  const next = encodeReport(splitReport(withDetails(DETAILS)), splitReport(REPORT))
  assert.deepEqual(decodeReport(next, got).details, DETAILS)
})

test('they take little room, what changes of them less, and another order none', (t) => {
  const packed = (bytes: Buffer): number => packMessage(bytes, { withDictionary: true }).length
  const before = splitReport(withDetails(DETAILS))
  const differ = (over: Partial<ReportDetails>): number =>
    packed(encodeReport(splitReport(withDetails({ ...DETAILS, ...over })), before))
  const { services, queues } = DETAILS
  const [first, ...others] = services.rows as [ReportedService, ...ReportedService[]]
  const whole = packed(encode(withDetails(DETAILS)))
  const health = differ({ services: { ...services, rows: [{ ...first, healthy: 0 }, ...others] } })
  const depths = differ({
    queues: { ...queues, rows: queues.rows.map((q) => ({ ...q, messages: q.messages + 70 })) },
  })
  const less = differ({ services: { ...services, rows: others } })
  t.diagnostic(
    `8 services and 3 queues: ${whole} bytes with the whole report, ${packed(encode(REPORT))} without; health ${health}, depths ${depths}, a service less ${less}`,
  )
  const reversed = { services: { ...services, rows: services.rows.toReversed() }, queues }
  assert.equal(findChanges(splitReport(withDetails(reversed)), before), 'none')
  assert.ok(whole <= 560, `${whole}`)
  assert.ok(health <= 48, `${health}`)
  assert.ok(depths <= 64, `${depths}`)
})

test('names and health are worth a message alone, numbers are not', () => {
  const before = splitReport(withDetails(DETAILS))
  const found = (over: Partial<ReportDetails>): string =>
    findChanges(splitReport(withDetails({ ...DETAILS, ...over })), before)
  const { services, queues } = DETAILS
  const each = (over: Partial<ReportedService>) => ({
    services: { ...services, rows: services.rows.map((s) => ({ ...s, ...over })) },
  })
  assert.equal(found({}), 'none')
  assert.equal(found(each({ connections: 9 })), 'quantities')
  assert.equal(found(each({ healthy: 0 })), 'state')
  assert.equal(found({ services: { ...services, more: 1 } }), 'state')
  assert.equal(found({ queues: { ...queues, rows: [] } }), 'quantities')
})

test('10,000 of each are cut to the first so many, the rest are counted and summed, and it fits', () => {
  const long = '語'.repeat(500)
  for (const [tail, least] of [
    ['', REPORT_LIMITS.rows],
    [long, 8],
  ] as const) {
    const services = Array.from({ length: 10_000 }, (_, i) => ({
      name: `${i}${tail}`,
      endpoints: Number.MAX_SAFE_INTEGER,
      healthy: Number.MAX_SAFE_INTEGER,
      connections: Number.MAX_SAFE_INTEGER,
    }))
    const queues = services.map(({ name: one }): ReportedQueue => ({
      kind: 'session',
      name: one,
      state: 'away',
      messages: 2,
      bytes: 30,
      drops: 4,
      sinceMs: 4_000_000_000_000,
    }))
    const more = { queues: 5, messages: 50, bytes: 500, drops: 7 }
    const evil = { kind: long, name: long, reason: long }
    const bytes = encode({
      ...withDetails({ services: { rows: services, more: 5 }, queues: { rows: queues, more } }),
      version: long,
      platform: long,
      revision: long,
      desired: long,
      refused: Array.from({ length: 500 }, () => evil),
      problems: Array.from({ length: 500 }, () => ({ code: long, text: long })),
      bridges: Array.from({ length: 500 }, () => ({ cluster: long, state: long, error: long })),
    })
    assert.ok(bytes.length <= REPORT_LIMITS.bytes, `${bytes.length}`)
    const got = decodeReport(bytes, undefined).details!
    const shown = got.queues.rows.length
    assert.ok(shown >= least && shown <= REPORT_LIMITS.rows, `${shown}`)
    assert.equal(got.services.rows.length, shown)
    assert.equal(got.services.more, 10_005 - shown)
    const left = 10_000 - shown
    assert.deepEqual(got.queues.more, {
      queues: left + 5,
      messages: left * 2 + 50,
      bytes: left * 30 + 500,
      drops: left * 4 + 7,
    })
    assert.ok(got.services.rows.every((row) => row.name.length <= REPORT_LIMITS.rowNameChars))
    // The worst came first.
    assert.ok(got.services.rows.some((row) => row.name.startsWith('0')))
  }
})

test('what a terminal would obey is written as what it is', () => {
  const evil = '\u001b[2J\u202e<img src=x onerror=alert(1)>\r\n'
  const got = pass({
    services: { rows: [{ ...DETAILS.services.rows[0]!, name: evil }], more: 0 },
    queues: { ...DETAILS.queues, rows: [{ ...DETAILS.queues.rows[0]!, name: evil }] },
  })
  const shown = '\\u001b[2J\\u202e<img src=x onerror=alert(1)>\\u000d\\u000a'
  assert.equal(got.services.rows[0]!.name, shown)
  assert.equal(got.queues.rows[0]!.name, shown)
})

test('columns that do not fit together, are too long or name what is not known are refused', () => {
  const whole = decodeReport(encode(withDetails(DETAILS)), undefined)
  const refuse = (number: number, write: (writer: Writer) => Writer, before = whole): string => {
    const message = new Writer().number(1).number(number).bytes(write(new Writer()).finish()).finish()
    try {
      decodeReport(message, before)
    } catch (thrown) {
      assert.ok(thrown instanceof MeshError && thrown.code === 'MESH_CONTROL_PROTOCOL', String(thrown))
      return thrown.message
    }
    return 'taken'
  }
  const list = (length: number) => (w: Writer) => w.number(length).raw(Buffer.alloc(length * 8))
  assert.match(
    refuse(17, (w) => w.number(1).number(2)),
    /8 services and numbers of 8 and 1/,
  )
  assert.match(
    refuse(15, (w) => w.number(0).number(1).text('a')),
    /1 services and numbers of 8/,
  )
  assert.match(
    refuse(18, (w) => w.number(1).number(0).text('a')),
    /1 queues and numbers of 3/,
  )
  assert.match(
    refuse(15, (w) => w.number(0).number(1).text('a'), REPORT),
    /with 1 columns/,
  )
  for (const number of [16, 17, 18]) assert.match(refuse(number, list(65)), /has 65 entries, above 64/)
  assert.match(
    refuse(15, (w) => w.number(0).number(1).text('x'.repeat(161))),
    /161 characters/,
  )
  assert.match(
    refuse(18, (w) => w.number(1).number(9).text('a')),
    /kind or a state that is not known/,
  )
  const message = encode(withDetails(DETAILS))
  const taken = Array.from({ length: message.length - 1 }, (_, i) => i + 1).filter((less) => {
    try {
      return decodeReport(message.subarray(0, message.length - less), undefined).details === undefined
    } catch (thrown) {
      assert.ok(thrown instanceof MeshError)
      return false
    }
  })
  assert.equal(taken.length, 1, 'cut before the first column, it is one of a device that names none')
  fc.assert(
    fc.property(fc.integer({ min: 15, max: 19 }), fc.uint8Array({ maxLength: 200 }), (number, bytes) => {
      refuse(number, (w) => w.raw(bytes))
    }),
  )
})
