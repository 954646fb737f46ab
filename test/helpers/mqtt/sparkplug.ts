/** Payloads of Sparkplug B, written by hand from the schema (Sparkplug 3.0 §6.4.1), and read again. */
import zlib from 'node:zlib'
import { WireReader } from '../../../protocols/mqtt/sparkplug/wire.ts'

const varint = (value: number): number[] =>
  value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))]
export const field = (number: number, content: number | readonly number[]): number[] =>
  typeof content === 'number'
    ? [...varint(number * 8), ...varint(content)]
    : [...varint(number * 8 + 2), ...varint(content.length), ...content]
const text = (value: string): number[] => [...Buffer.from(value)]

export type Metric = { readonly name: string; readonly value: number; readonly isHistorical?: boolean }
export function sparkplugPayload(seq: number | undefined, ...metrics: readonly Metric[]): Buffer {
  return Buffer.from([
    ...field(1, 1_700_000_000_000),
    ...metrics.flatMap(({ name, value, isHistorical }) =>
      field(2, [
        ...field(1, text(name)),
        ...field(3, 1_700_000_000_000),
        ...field(4, 3),
        ...(isHistorical === undefined ? [] : field(5, Number(isHistorical))),
        ...field(10, value),
      ]),
    ),
    ...(seq === undefined ? [] : field(3, seq)),
  ])
}

/** As Eclipse Tahu does it. `algorithm` undefined: the metric that names it is left out, which means DEFLATE. */
export function compress(payload: Uint8Array, algorithm: 'GZIP' | 'DEFLATE' | undefined): Buffer {
  const body = algorithm === 'GZIP' ? zlib.gzipSync(payload) : zlib.deflateSync(payload)
  const named = [...field(1, text('algorithm')), ...field(4, 12), ...field(15, text(algorithm ?? ''))]
  return Buffer.from([
    ...(algorithm ? field(2, named) : []),
    ...field(4, text('SPBV1.0_COMPRESSED')),
    ...field(5, [...body]),
  ])
}
function inflated(payload: Uint8Array): Uint8Array {
  const reader = new WireReader(payload)
  let body: Uint8Array | undefined
  while (reader.next()) if (reader.number === 5) body = payload.subarray(reader.from, reader.at)
  return body && Buffer.from(payload).includes('SPBV1.0_COMPRESSED') ? zlib.unzipSync(body) : payload
}

/** `seq name=value`, with a star behind what is historical. */
export function describePayload(said: Uint8Array, { isInflated = true } = {}): string {
  const payload = isInflated ? inflated(said) : said
  let seq = '-'
  const metrics: string[] = []
  const reader = new WireReader(payload)
  while (reader.next()) {
    if (reader.number === 3) seq = String(reader.value)
    if (reader.number !== 2) continue
    const metric = { name: '', value: 0, isHistorical: false }
    const fields = new WireReader(payload, reader.from, reader.at)
    while (fields.next()) {
      if (fields.number === 1) metric.name = Buffer.from(payload.subarray(fields.from, fields.at)).toString()
      if (fields.number === 5) metric.isHistorical = fields.value !== 0
      if (fields.number === 10 || fields.number === 14) metric.value = fields.value
    }
    metrics.push(`${metric.name}=${metric.value}${metric.isHistorical ? '*' : ''}`)
  }
  if (reader.isMalformed) return 'unreadable'
  return [seq, ...metrics].join(' ')
}
