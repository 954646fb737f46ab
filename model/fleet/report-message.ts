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
import { MeshError } from '../../core/errors.ts'
import { toPrintable } from '../../core/printable.ts'
import { REPORT_LIMITS, type Quantities, type Report, type ReportedState } from './report.ts'
import { Reader, Writer } from '../../core/relay/text.ts'

const LAYOUT = 1
/** By number; undefined until they have come. */
export type ReportFields = ReadonlyMap<number, Buffer>

type Field = {
  /** Worth a message alone. */
  readonly isState: boolean
  readonly write: (report: Report, writer: Writer) => void
  readonly read: (reader: Reader) => Partial<Omit<Report, 'quantities'>> | { readonly quantities: Quantities }
}
const { entries: MAX_ENTRIES, textChars: MAX_TEXT, nameChars: MAX_NAME } = REPORT_LIMITS
/** Of one list: all of them fit into a report. */
const MAX_LIST_BYTES = 7_000
const STATES: readonly ReportedState[] = ['starting', 'ready', 'draining']

/** Numbers stand on the wire and are never given anew. */
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
        writeList(w, r.refused, (each, one) => writeTexts(each, [one.kind, one.name, cut(one.reason, MAX_TEXT)])),
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
        writeList(w, r.bridges, (each, one) => writeTexts(each, [one.cluster, one.state, cut(one.error, MAX_TEXT)])),
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
  [13, { isState: false, write: (r, w) => writeQuantities(w, r.quantities), read: readQuantities }],
])

/** What a report consists of, for comparison with the one before. */
export function splitReport(report: Report): ReportFields {
  return new Map(
    [...FIELDS].map(([number, field]) => {
      const writer = new Writer()
      field.write(report, writer)
      return [number, writer.finish()]
    }),
  )
}

/** What differs from what was said before, and whether it is worth a message. */
export function findChanges(fields: ReportFields, before: ReportFields): 'none' | 'quantities' | 'state' {
  let found: 'none' | 'quantities' = 'none'
  for (const [number, bytes] of fields) {
    if (before.get(number)?.equals(bytes) === true) continue
    if (FIELDS.get(number)!.isState) return 'state'
    found = 'quantities'
  }
  return found
}

/** @param before what was said on this stream; nothing yet: the whole report */
export function encodeReport(fields: ReportFields, before: ReportFields): Buffer {
  const writer = new Writer().number(LAYOUT)
  for (const [number, bytes] of fields)
    if (before.get(number)?.equals(bytes) !== true) writer.number(number).bytes(bytes)
  return writer.finish()
}

/**
 * The report as it is with this message.
 * @param before undefined: the first of a stream, which has to be whole. Throws MESH_CONTROL_PROTOCOL.
 */
export function decodeReport(message: Uint8Array, before: Report | undefined): Report {
  if (message.length > REPORT_LIMITS.bytes) throw broken(`it has ${message.length} bytes, above ${REPORT_LIMITS.bytes}`)
  const reader = new Reader(message)
  const layout = reader.number()
  if (layout !== LAYOUT) throw broken(`its layout is ${layout}, ${LAYOUT} is known`)
  const seen = new Set<number>()
  const changed: Partial<Report> = {}
  while (!reader.isAtEnd) {
    const number = reader.number()
    const bytes = reader.bytes()
    if (seen.has(number)) throw broken(`field ${number} stands in it twice`)
    seen.add(number)
    const field = FIELDS.get(number)
    if (!field) continue
    const inner = new Reader(bytes)
    Object.assign(changed, field.read(inner))
    if (!inner.isAtEnd) throw broken(`field ${number} is longer than what is in it`)
  }
  if (!before) for (const number of FIELDS.keys()) if (!seen.has(number)) throw broken(`field ${number} is missing`)
  return { ...before, ...changed } as Report
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

/** What does not fit is left out: half of it says what is wrong, too. */
function writeList<T>(writer: Writer, list: readonly T[], write: (writer: Writer, one: T) => void): void {
  const entries: Buffer[] = []
  let bytes = 0
  for (const one of list.slice(0, MAX_ENTRIES)) {
    const entry = new Writer()
    write(entry, one)
    const encoded = entry.finish()
    bytes += encoded.length
    if (bytes > MAX_LIST_BYTES) break
    entries.push(encoded)
  }
  writer.number(entries.length)
  for (const entry of entries) writer.raw(entry)
}
function readList<T>(reader: Reader, read: () => T): T[] {
  const length = reader.number()
  if (length > MAX_ENTRIES) throw broken(`a list in it has ${length} entries, above ${MAX_ENTRIES}`)
  return Array.from({ length }, read)
}

function writeTexts(writer: Writer, texts: readonly string[]): void {
  for (const text of texts) writeText(writer, text)
}
function writeText(writer: Writer, text: string): void {
  writer.text(cut(text, MAX_NAME))
}
/** What a terminal would obey does not come further than here. */
function readText(reader: Reader): string {
  const text = reader.text()
  if (text.length > MAX_NAME) throw broken(`a text in it has ${text.length} characters, above ${MAX_NAME}`)
  return toPrintable(text)
}
function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1).toWellFormed()}…`
}
function readHex(reader: Reader): string {
  const bytes = reader.bytes()
  if (bytes.length > MAX_TEXT) throw broken('a hash in it is too long')
  return bytes.toString('hex')
}
function readState(reader: Reader): ReportedState {
  const found = STATES[reader.number()]
  if (!found) throw broken('it names a state that is not known')
  return found
}

/** Whole seconds since the epoch; 0: none. */
function writeTime(writer: Writer, ms: number | undefined): void {
  writeLarge(writer, ms === undefined ? 0 : Math.max(0, Math.round(ms / 1_000)))
}
const MAX_SECONDS = 8_640_000_000_000
function readTime(reader: Reader): number | undefined {
  const seconds = readLarge(reader)
  if (seconds > MAX_SECONDS) throw broken('a time in it is none')
  return seconds === 0 ? undefined : seconds * 1_000
}

/** A varint has 32 bits; what has more follows in another: the lowest bit of the first says so. */
const HALF = 2 ** 31
function writeLarge(writer: Writer, value: number): void {
  const whole = Number.isFinite(value) ? Math.min(Math.max(0, Math.round(value)), Number.MAX_SAFE_INTEGER) : 0
  const high = Math.floor(whole / HALF)
  writer.number((whole % HALF) * 2 + (high > 0 ? 1 : 0))
  if (high > 0) writer.number(high)
}
function readLarge(reader: Reader): number {
  const low = reader.number()
  const value = Math.floor(low / 2) + (low % 2 === 1 ? reader.number() * HALF : 0)
  if (!Number.isSafeInteger(value)) throw broken('a number in it is too large')
  return value
}

function broken(what: string): MeshError {
  return new MeshError('MESH_CONTROL_PROTOCOL', `a report of a device cannot be read: ${what}`)
}
