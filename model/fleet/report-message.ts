/**
 * Reports as they travel on a stream of the relay. A message is the version of this layout, then fields:
 *
 * | what   | as                                           |
 * | ------ | -------------------------------------------- |
 * | number | varint, of FIELDS                            |
 * | value  | its length and bytes, as the field writes it |
 *
 * The first message of a stream has every field, later ones those that differ from what was said before. A field that
 * is not known is passed over: the sender is newer.
 */
import { Reader, Writer } from '../../core/relay/text.ts'
import { REPORT_LIMITS, TRANSPORT, type Quantities, type Report, type ReportedState } from './report.ts'
import { isStateColumn, joinColumns, readColumn, splitColumns, type Columns } from './report-columns.ts'
import {
  makeReportError,
  shorten,
  readHex,
  readLarge,
  readList,
  readText,
  readTime,
  writeLarge,
  writeList,
  writeText,
  writeTexts,
  writeTime,
} from './report-values.ts'

const LAYOUT = 1
const QUANTITIES = 13
/**
 * Does not travel: quantities without what reports themselves and pings move. With that, each report would be the
 * reason for the next, and a device at rest would never be silent.
 */
const MOVED_BY_OTHERS = 0
/** By number. */
export type ReportFields = ReadonlyMap<number, Buffer>

type Field = {
  /** Worth a message alone. */
  readonly isState: boolean
  readonly write: (report: Report, writer: Writer) => void
  readonly read: (
    reader: Reader,
  ) => Partial<Omit<Report, 'quantities' | 'details'>> | { readonly quantities: Quantities }
}
const { textChars: MAX_TEXT } = REPORT_LIMITS
const STATES: readonly ReportedState[] = ['starting', 'ready', 'draining']

/** Numbers stand on the wire and are never given anew; 15 to 19 are those of report-columns.ts. */
const FIELDS: ReadonlyMap<number, Field> = new Map<number, Field>([
  [
    1,
    state(
      (r, w) => writeTime(w, r.startedAtMs),
      (r) => ({ startedAtMs: readTime(r) ?? 0 }),
    ),
  ],
  [
    2,
    state(
      (r, w) => writeText(w, r.version),
      (r) => ({ version: readText(r) }),
    ),
  ],
  [
    3,
    state(
      (r, w) => writeText(w, r.platform),
      (r) => ({ platform: readText(r) }),
    ),
  ],
  [
    4,
    state(
      (r, w) => w.number(STATES.indexOf(r.state)),
      (r) => ({ state: readState(r) }),
    ),
  ],
  [
    5,
    state(
      (r, w) => writeText(w, r.revision),
      (r) => ({ revision: readText(r) }),
    ),
  ],
  [
    6,
    state(
      (r, w) => writeText(w, r.desired),
      (r) => ({ desired: readText(r) }),
    ),
  ],
  [
    7,
    state(
      (r, w) => w.bytes(Buffer.from(r.content, 'hex')),
      (r) => ({ content: readHex(r) }),
    ),
  ],
  [
    8,
    state(
      (r, w) =>
        writeList(w, r.refused, (each, one) => writeTexts(each, [one.kind, one.name, shorten(one.reason, MAX_TEXT)])),
      (r) => ({
        refused: readList(r, () => ({ kind: readText(r), name: readText(r), reason: readText(r) })),
      }),
    ),
  ],
  [9, state(writeCertificate, readCertificate)],
  [
    10,
    state(
      (r, w) => w.number(r.clockTrusted ? 1 : 0),
      (r) => ({ clockTrusted: r.number() === 1 }),
    ),
  ],
  [
    11,
    state(
      (r, w) =>
        writeList(w, r.bridges, (each, one) =>
          writeTexts(each, [one.cluster, one.state, shorten(one.error, MAX_TEXT)]),
        ),
      (r) => ({ bridges: readList(r, () => ({ cluster: readText(r), state: readText(r), error: readText(r) })) }),
    ),
  ],
  [
    12,
    state(
      (r, w) => writeList(w, r.problems, (each, one) => writeTexts(each, [one.code, one.text])),
      (r) => ({ problems: readList(r, () => ({ code: readText(r), text: readText(r) })) }),
    ),
  ],
  [
    14,
    state(
      (r, w) => w.number(r.run),
      (r) => ({ run: r.number() }),
    ),
  ],
  [QUANTITIES, { isState: false, write: (r, w) => writeQuantities(w, r.quantities), read: readQuantities }],
])

/** What a report consists of, for comparison with the one before. */
export function splitReport(report: Report): ReportFields {
  const fields = [...FIELDS].map(([number, field]): [number, Buffer] => {
    const writer = new Writer()
    field.write(report, writer)
    return [number, writer.finish()]
  })
  const columns = report.details ? splitColumns(report.details) : []
  return new Map([...fields, ...columns, [MOVED_BY_OTHERS, writeMovedByOthers(report.quantities)]])
}

/** What differs from what was said before, and whether it is worth a message. */
export function findChanges(fields: ReportFields, before: ReportFields): 'none' | 'quantities' | 'state' {
  let found: 'none' | 'quantities' = 'none'
  for (const [number, bytes] of fields) {
    if (number === QUANTITIES || before.get(number)?.equals(bytes) === true) continue
    if (FIELDS.get(number)?.isState ?? isStateColumn(number)) return 'state'
    found = 'quantities'
  }
  return found
}

/** @param before what was said on this stream; nothing yet: the whole report */
export function encodeReport(fields: ReportFields, before: ReportFields): Buffer {
  const writer = new Writer().number(LAYOUT)
  for (const [number, bytes] of fields)
    if (number !== MOVED_BY_OTHERS && before.get(number)?.equals(bytes) !== true) writer.number(number).bytes(bytes)
  return writer.finish()
}

/**
 * The report as it is with this message.
 * @param before undefined: the first of a stream, which has to be whole. Throws MESH_CONTROL_PROTOCOL.
 */
export function decodeReport(message: Uint8Array, before: Report | undefined): Report {
  if (message.length > REPORT_LIMITS.bytes)
    throw makeReportError(`it has ${message.length} bytes, above ${REPORT_LIMITS.bytes}`)
  const reader = new Reader(message)
  const layout = reader.number()
  if (layout !== LAYOUT) throw makeReportError(`its layout is ${layout}, ${LAYOUT} is known`)
  const seen = new Set<number>()
  const changed: Partial<Report> = {}
  const columns: Partial<Columns> = {}
  while (!reader.isAtEnd) {
    const number = reader.number()
    const bytes = reader.bytes()
    if (seen.has(number)) throw makeReportError(`field ${number} stands in it twice`)
    seen.add(number)
    const field = FIELDS.get(number)
    const inner = new Reader(bytes)
    const column = field ? undefined : readColumn(number, inner)
    if (!field && !column) continue
    if (field) Object.assign(changed, field.read(inner))
    else Object.assign(columns, column)
    if (!inner.isAtEnd) throw makeReportError(`field ${number} is longer than what is in it`)
  }
  if (!before)
    for (const number of FIELDS.keys()) if (!seen.has(number)) throw makeReportError(`field ${number} is missing`)
  const details = joinColumns(columns, before?.details)
  return { ...before, ...changed, ...(details ? { details } : undefined) } as Report
}

function state(write: Field['write'], read: Field['read']): Field {
  return { isState: true, write, read }
}

function writeCertificate({ certificate }: Report, writer: Writer): void {
  writeText(writer, certificate?.serial ?? '')
  writeTime(writer, certificate?.notAfterMs)
}
function readCertificate(reader: Reader): Pick<Report, 'certificate'> {
  const [serial, notAfterMs] = [readText(reader), readTime(reader)]
  return { certificate: serial === '' || notAfterMs === undefined ? undefined : { serial, notAfterMs } }
}

function writeQuantities(writer: Writer, q: Quantities): void {
  writer.number(q.rttMs === undefined ? 0 : Math.round(q.rttMs) + 1)
  for (const count of [q.connections, q.requests, q.failures, q.drops, q.spoolMessages]) writeLarge(writer, count)
  for (const count of [q.spoolBytes, q.spoolMaxBytes, q.bridged, q.mqttClients]) writeLarge(writer, count)
  writeTime(writer, q.spoolSinceMs)
  writeList(writer, q.bytes, (each, { purpose, sent, received }) => {
    writeText(each, purpose)
    writeLarge(each, sent)
    writeLarge(each, received)
  })
}
function writeMovedByOthers(quantities: Quantities): Buffer {
  const writer = new Writer()
  const bytes = quantities.bytes.filter(({ purpose }) => purpose !== 'report' && purpose !== TRANSPORT)
  writeQuantities(writer, { ...quantities, rttMs: undefined, bytes })
  return writer.finish()
}
function readQuantities(reader: Reader): { readonly quantities: Quantities } {
  const rtt = reader.number()
  const next = (): number => readLarge(reader)
  return {
    quantities: {
      rttMs: rtt === 0 ? undefined : rtt - 1,
      connections: next(),
      requests: next(),
      failures: next(),
      drops: next(),
      spoolMessages: next(),
      spoolBytes: next(),
      spoolMaxBytes: next(),
      bridged: next(),
      mqttClients: next(),
      spoolSinceMs: readTime(reader),
      bytes: readList(reader, () => ({ purpose: readText(reader), sent: next(), received: next() })),
    },
  }
}

function readState(reader: Reader): ReportedState {
  const found = STATES[reader.number()]
  if (!found) throw makeReportError('it names a state that is not known')
  return found
}
