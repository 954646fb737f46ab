/** Texts, times, numbers and lists, as they stand in reports of devices: bounded where written, and where read. */
import { MeshError } from '../../core/errors.ts'
import { toPrintable } from '../../core/printable.ts'
import { Writer, type Reader } from '../../core/relay/text.ts'
import { REPORT_LIMITS } from './report.ts'

const { entries: MAX_ENTRIES, textChars: MAX_TEXT, nameChars: MAX_NAME } = REPORT_LIMITS

/** Of one list: all of them fit into a report. */
const MAX_LIST_BYTES = 7_000

/** What does not fit is left out: half of it says what is wrong, too. */
export function writeList<T>(writer: Writer, list: readonly T[], write: (writer: Writer, one: T) => void): void {
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
export function readList<T>(reader: Reader, read: () => T, most: number = MAX_ENTRIES): T[] {
  const length = reader.number()
  if (length > most) throw makeReportError(`a list in it has ${length} entries, above ${most}`)
  return Array.from({ length }, read)
}

export function writeTexts(writer: Writer, texts: readonly string[]): void {
  for (const text of texts) writeText(writer, text)
}
export function writeText(writer: Writer, text: string, maxChars: number = MAX_NAME): void {
  writer.text(shorten(text, maxChars))
}
/** What a terminal would obey does not come further than here. */
export function readText(reader: Reader, maxChars: number = MAX_NAME): string {
  const text = reader.text()
  if (text.length > maxChars) throw makeReportError(`a text in it has ${text.length} characters, above ${maxChars}`)
  return toPrintable(text)
}
export function shorten(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars - 1).toWellFormed()}…`
}
export function readHex(reader: Reader): string {
  const bytes = reader.bytes()
  if (bytes.length > MAX_TEXT) throw makeReportError('a hash in it is too long')
  return bytes.toString('hex')
}
/** Whole seconds since the epoch; 0: none. */
export function writeTime(writer: Writer, ms: number | undefined): void {
  writeLarge(writer, ms === undefined ? 0 : Math.max(0, Math.round(ms / 1_000)))
}
const MAX_SECONDS = 8_640_000_000_000
export function readTime(reader: Reader): number | undefined {
  const seconds = readLarge(reader)
  if (seconds > MAX_SECONDS) throw makeReportError('a time in it is none')
  return seconds === 0 ? undefined : seconds * 1_000
}

/** A varint has 32 bits; what has more follows in another: the lowest bit of the first says so. */
const HALF = 2 ** 31
export function writeLarge(writer: Writer, value: number): void {
  const whole = Number.isFinite(value) ? Math.min(Math.max(0, Math.round(value)), Number.MAX_SAFE_INTEGER) : 0
  const high = Math.floor(whole / HALF)
  writer.number((whole % HALF) * 2 + (high > 0 ? 1 : 0))
  if (high > 0) writer.number(high)
}
export function readLarge(reader: Reader): number {
  const low = reader.number()
  const value = Math.floor(low / 2) + (low % 2 === 1 ? reader.number() * HALF : 0)
  if (!Number.isSafeInteger(value)) throw makeReportError('a number in it is too large')
  return value
}

export function makeReportError(what: string): MeshError {
  return new MeshError('MESH_CONTROL_PROTOCOL', `a report of a device cannot be read: ${what}`)
}
