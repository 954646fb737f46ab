/**
 * What a bridge reads and writes of `org.eclipse.tahu.protobuf.Payload` (Sparkplug 3.0 §6.4.1). What it does not know
 * stays as it is, byte by byte.
 */
import { BODY, encodeAs, findBody, readBody } from './compressed.ts'
import { LENGTH_DELIMITED, VARINT, WireReader } from './wire.ts'

const PAYLOAD = { timestamp: 1, metrics: 2, seq: 3 }
const METRIC = { name: 1, timestamp: 3, datatype: 4, isHistorical: 5, booleanValue: 14 }
const BOOLEAN = 11
const MAX_SEQ = 255
/** `is_historical: true`. */
const HISTORICAL = [(METRIC.isHistorical << 3) | VARINT, 1] as const
/** A metric grows by it, and a length of 127 then takes a byte more. */
const MAX_GROWTH = HISTORICAL.length + 1
/** Tag and length of a field. */
const MAX_HEAD_BYTES = 6

/** `too-large`: it is compressed, and larger than may be looked at. `unreadable`: it is no payload of Sparkplug. */
export type Unread = 'too-large' | 'unreadable'

/**
 * Of what is compressed that of the inner payload, where it has one.
 * @returns undefined: there is none
 */
export function readSeq(payload: Uint8Array, maxInflatedBytes: number): number | undefined | Unread {
  const outer = readOwnSeq(payload)
  const body = outer === 'unreadable' ? undefined : findBody(payload)
  if (!body) return outer
  const inner = readBody(body, maxInflatedBytes)
  return typeof inner === 'string' ? inner : (readOwnSeq(inner) ?? outer)
}
function readOwnSeq(payload: Uint8Array): number | undefined | 'unreadable' {
  const reader = new WireReader(payload)
  let seq: number | undefined
  while (reader.next()) {
    if (reader.number !== PAYLOAD.seq) continue
    if (reader.type !== VARINT || reader.value > MAX_SEQ) return 'unreadable'
    seq = reader.value
  }
  return reader.isMalformed ? 'unreadable' : seq
}

/**
 * Each metric says that it is not current but was stored (Sparkplug 3.0 §6.4.6, `is_historical`). The sequence number
 * stays: the standard knows none of their own for historical metrics [tck-id-payloads-ndata-seq].
 */
export function markHistorical(payload: Uint8Array, maxInflatedBytes: number): Uint8Array | Unread {
  const body = findBody(payload)
  if (!body) return markOwn(payload)
  const inner = readBody(body, maxInflatedBytes)
  if (typeof inner === 'string') return inner
  const marked = markOwn(inner)
  return typeof marked === 'string' ? marked : replaceBody(payload, encodeAs(body, marked))
}

/** What describes it, as the metric that names the algorithm, stays. */
function replaceBody(payload: Uint8Array, body: Uint8Array): Uint8Array {
  const out = new Writer(payload.length + body.length + MAX_HEAD_BYTES)
  const reader = new WireReader(payload)
  while (reader.next()) if (reader.number !== BODY) out.copy(payload, reader.start, reader.at)
  out.byte((BODY << 3) | LENGTH_DELIMITED)
  out.varint(body.length)
  out.copy(body, 0, body.length)
  return out.written
}

function markOwn(payload: Uint8Array): Uint8Array | 'unreadable' {
  const metrics = countMetrics(payload)
  if (metrics === undefined) return 'unreadable'
  const out = new Writer(payload.length + metrics * MAX_GROWTH)
  const reader = new WireReader(payload)
  while (reader.next()) {
    if (reader.number !== PAYLOAD.metrics) out.copy(payload, reader.start, reader.at)
    else if (!writeMetric(out, payload, reader)) return 'unreadable'
  }
  return out.written
}

function countMetrics(payload: Uint8Array): number | undefined {
  const reader = new WireReader(payload)
  let count = 0
  while (reader.next()) {
    if (reader.number !== PAYLOAD.metrics) continue
    if (reader.type !== LENGTH_DELIMITED) return undefined
    count++
  }
  return reader.isMalformed ? undefined : count
}

/** @returns whether it is one */
function writeMetric(out: Writer, payload: Uint8Array, { from, at: end }: WireReader): boolean {
  const fields = new WireReader(payload, from, end)
  let before = 0
  while (fields.next()) {
    if (fields.number !== METRIC.isHistorical) continue
    if (fields.type !== VARINT) return false
    before += fields.at - fields.start
  }
  if (fields.isMalformed) return false
  out.byte((PAYLOAD.metrics << 3) | LENGTH_DELIMITED)
  out.varint(end - from - before + HISTORICAL.length)
  if (before === 0) out.copy(payload, from, end)
  else {
    const others = new WireReader(payload, from, end)
    while (others.next()) if (others.number !== METRIC.isHistorical) out.copy(payload, others.start, others.at)
  }
  for (const byte of HISTORICAL) out.byte(byte)
  return true
}

/** Rebirth Request [tck-id-operational-behavior-data-commands-ncmd-rebirth-name, -value, -datatype]. */
export function encodeRebirthRequest(nowMs: number): Uint8Array {
  const name = Buffer.from('Node Control/Rebirth')
  const metric = new Writer(64)
  metric.byte((METRIC.name << 3) | LENGTH_DELIMITED)
  metric.varint(name.length)
  metric.copy(name, 0, name.length)
  for (const [number, value] of [
    [METRIC.timestamp, nowMs],
    [METRIC.datatype, BOOLEAN],
    [METRIC.booleanValue, 1],
  ] as const) {
    metric.byte((number << 3) | VARINT)
    metric.varint(value)
  }
  const out = new Writer(96)
  out.byte((PAYLOAD.timestamp << 3) | VARINT)
  out.varint(nowMs)
  out.byte((PAYLOAD.metrics << 3) | LENGTH_DELIMITED)
  out.varint(metric.written.length)
  out.copy(metric.written, 0, metric.written.length)
  return out.written
}

class Writer {
  readonly #bytes: Uint8Array
  #at = 0
  constructor(maxBytes: number) {
    this.#bytes = new Uint8Array(maxBytes)
  }
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }
  byte(value: number): void {
    this.#bytes[this.#at++] = value
  }
  varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.byte(rest)
  }
  copy(from: Uint8Array, start: number, end: number): void {
    this.#bytes.set(from.subarray(start, end), this.#at)
    this.#at += end - start
  }
}
