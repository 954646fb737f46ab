import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../../../core/errors.ts'
import { packMessage } from '../../../core/relay/compression.ts'
import { REPORT_LIMITS, type Report } from '../../../model/fleet/report.ts'
import { decodeReport, encodeReport, findChanges, splitReport } from '../../../model/fleet/report-message.ts'
import { Writer } from '../../../core/relay/text.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'

const NOTHING = new Map<number, Buffer>()
const encode = (report: Report): Buffer => encodeReport(splitReport(report), NOTHING)
const refused = (bytes: Uint8Array, before?: Report): string => {
  try {
    decodeReport(bytes, before)
  } catch (thrown) {
    assert.ok(thrown instanceof MeshError, `${String(thrown)} is no MeshError`)
    assert.equal(thrown.code, 'MESH_CONTROL_PROTOCOL')
    return thrown.message
  }
  return 'taken'
}

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const seconds = fc.integer({ min: 1, max: 4_000_000_000 }).map((s) => s * 1_000)
// Printable, as it is on both sides; other texts have a test of their own.
const text = fc.string({ unit: fc.constantFrom('a', 'Z', '0', '|', '/', 'ä', '語'), maxLength: 60 })
const reports: fc.Arbitrary<Report> = fc.record({
  run: fc.nat({ max: 2 ** 32 - 1 }),
  startedAtMs: seconds,
  version: text,
  platform: text,
  state: fc.constantFrom('starting', 'ready', 'draining'),
  revision: text,
  desired: text,
  content: fc.constantFrom('', 'ab', '00ff'.repeat(6)),
  refused: fc.array(fc.record({ kind: text, name: text, reason: text }), { maxLength: 20 }),
  certificate: fc.option(fc.record({ serial: text.filter((t) => t !== ''), notAfterMs: seconds }), { nil: undefined }),
  clockTrusted: fc.boolean(),
  bridges: fc.array(fc.record({ cluster: text, state: text, error: text }), { maxLength: 10 }),
  problems: fc.array(fc.record({ code: text, text }), { maxLength: 20 }),
  quantities: fc.record({
    rttMs: fc.option(fc.nat({ max: 1_000_000 }), { nil: undefined }),
    connections: count,
    requests: count,
    failures: count,
    drops: count,
    spoolMessages: count,
    spoolBytes: count,
    spoolMaxBytes: count,
    spoolSinceMs: fc.option(seconds, { nil: undefined }),
    bridged: count,
    mqttClients: count,
    bytes: fc.array(fc.record({ purpose: text, sent: count, received: count }), { maxLength: 12 }),
  }),
})

test('a report, and what differs from the one before, come as they were sent', () => {
  fc.assert(
    fc.property(reports, reports, (one, other) => {
      const [first, second] = [structuredClone({ ...one }), structuredClone({ ...other })]
      const got = decodeReport(encode(first), undefined)
      assert.deepEqual(got, first)
      const difference = encodeReport(splitReport(second), splitReport(first))
      assert.deepEqual(decodeReport(difference, got), second)
    }),
  )
})

test('a report takes little room, and a difference less', (t) => {
  const packed = (bytes: Buffer): number => packMessage(bytes, { withDictionary: true }).length
  const whole = packed(encode(REPORT))
  const next: Report = { ...REPORT, revision: 'ffeeddccbbaa9988', desired: 'ffeeddccbbaa9988', content: 'b'.repeat(24) }
  const revision = packed(encodeReport(splitReport(next), splitReport(REPORT)))
  const counted: Report = { ...REPORT, quantities: { ...REPORT.quantities, requests: 130_000 } }
  const counts = packed(encodeReport(splitReport(counted), splitReport(REPORT)))
  t.diagnostic(`a whole report ${whole} bytes, another revision ${revision}, counts ${counts}`)
  assert.ok(whole <= 320, `${whole}`)
  assert.ok(revision <= 64, `${revision}`)
  assert.ok(counts <= 110, `${counts}`)
})

test('counts alone are told from the rest', () => {
  const before = splitReport(REPORT)
  assert.equal(findChanges(splitReport({ ...REPORT }), before), 'none')
  const quantities = { ...REPORT.quantities, requests: 1 }
  assert.equal(findChanges(splitReport({ ...REPORT, quantities }), before), 'quantities')
  assert.equal(findChanges(splitReport({ ...REPORT, quantities, state: 'draining' }), before), 'state')
})

test('what a device has too much of is cut by it, and fits', () => {
  const long = 'ü'.repeat(5_000)
  const entries = Array.from({ length: 500 }, () => ({ kind: long, name: long, reason: long }))
  const bytes = encode({
    ...REPORT,
    refused: entries,
    problems: entries.map(() => ({ code: long, text: long })),
    bridges: entries.map(() => ({ cluster: long, state: long, error: long })),
    version: long,
  })
  assert.ok(bytes.length <= REPORT_LIMITS.bytes, `${bytes.length}`)
  const got = decodeReport(bytes, undefined)
  assert.ok(got.refused.length > 0 && got.refused.length <= REPORT_LIMITS.entries)
  assert.equal(got.version.length, REPORT_LIMITS.nameChars)
  assert.ok(got.version.endsWith('…'))
})

test('what a terminal would obey is written as what it is', () => {
  const evil = '\u001b[2J\u202e=cmd|x\r\n'
  const got = decodeReport(encode({ ...REPORT, version: evil, problems: [{ code: evil, text: evil }] }), undefined)
  assert.equal(got.version, '\\u001b[2J\\u202e=cmd|x\\u000d\\u000a')
  assert.equal(got.problems[0]!.text, got.version)
})

test('what is no report is refused, and nothing else is thrown', () => {
  const whole = encode(REPORT)
  for (let length = 0; length < whole.length; length++) assert.notEqual(refused(whole.subarray(0, length)), 'taken')
  assert.match(refused(Buffer.of(2)), /its layout is 2/)
  assert.match(refused(Buffer.alloc(REPORT_LIMITS.bytes + 1, 1)), /above 49152/)
  assert.match(refused(encodeReport(new Map([[5, Buffer.from('\u0001x')]]), NOTHING)), /is missing/)
  const one = (number: number, value: Uint8Array): Buffer => new Writer().number(1).number(number).bytes(value).finish()
  assert.match(refused(Buffer.concat([one(4, Buffer.of(1)), one(4, Buffer.of(1)).subarray(1)]), REPORT), /twice/)
  assert.match(refused(one(4, Buffer.of(9)), REPORT), /a state that is not known/)
  assert.match(refused(one(4, Buffer.of(1, 1)), REPORT), /longer than what is in it/)
  assert.match(refused(one(8, new Writer().number(33).finish()), REPORT), /has 33 entries/)
  assert.match(refused(one(2, new Writer().text('x'.repeat(401)).finish()), REPORT), /401 characters/)
  assert.equal(refused(one(99, Buffer.from('newer')), REPORT), 'taken')
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      (bytes) => void refused(Buffer.concat([Buffer.of(1), bytes]), REPORT),
    ),
  )
})
