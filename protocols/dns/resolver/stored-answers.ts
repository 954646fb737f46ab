/**
 * Answers of upstream resolvers as bytes of a file. Format, version 1: "meshlet-dns" · version (1 byte) · SHA-256 of
 * the rest (32) · wall milliseconds of writing (8) · answers, the longest unused first. An answer: seconds until it is
 * too stale (4) · header flags (2) · counts (3 × 2) · length of its key (2) and of its records (4) · key · records. All
 * numbers big-endian.
 */
import { createHash } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import { writeHeader, type Answer } from '../codec/answer.ts'
import type { Entry } from './cache.ts'
import { readResponse } from '../codec/response.ts'
import { AD, HEADER_BYTES, findNameEnd, QR, RCODE } from '../codec/wire.ts'

export type StoredAnswer = {
  readonly key: string
  readonly answer: Answer
  /** From when it was written. */ readonly staleForMs: number
}

const MAGIC = Buffer.from('meshlet-dns')
const VERSION = 1
const HASH_AT = MAGIC.length + 1,
  TIME_AT = HASH_AT + 32,
  ANSWERS_AT = TIME_AT + 8
const FIXED_BYTES = 4 + 2 + 6 + 2 + 4

/**
 * @param entries the longest unused first; what does not fit into `maxBytes` is left out from there.
 * @returns undefined when none is left
 */
export function encodeAnswers(
  entries: readonly (readonly [string, Entry])[],
  at: { readonly wallMs: number; readonly monotonicMs: number },
  maxBytes: number,
): Buffer | undefined {
  const parts: Buffer[][] = []
  let bytes = ANSWERS_AT
  for (const [key, { answer, staleUntilMs }] of entries.toReversed()) {
    const forSec = Math.ceil((staleUntilMs - at.monotonicMs) / 1000)
    const { counts, body } = answer.records
    const size = FIXED_BYTES + key.length + body.length
    if (forSec <= 0 || bytes + size > maxBytes) continue
    const head = Buffer.alloc(FIXED_BYTES)
    head.writeUInt32BE(forSec, 0)
    head.writeUInt16BE((answer.flags & AD) | answer.rcode, 4)
    for (const [i, count] of counts.entries()) head.writeUInt16BE(count, 6 + 2 * i)
    head.writeUInt16BE(key.length, 12)
    head.writeUInt32BE(body.length, 14)
    parts.push([head, Buffer.from(key, 'latin1'), body])
    bytes += size
  }
  if (parts.length === 0) return undefined
  const head = Buffer.concat([MAGIC, Buffer.of(VERSION), Buffer.alloc(32 + 8)])
  head.writeBigUInt64BE(BigInt(Math.max(0, Math.round(at.wallMs))), TIME_AT)
  const out = Buffer.concat([head, ...parts.reverse().flat()])
  hashOf(out).copy(out, HASH_AT)
  return out
}

/** Throws RangeError for what is damaged, MESH_STORAGE_NEWER for another version's. */
export function decodeAnswers(bytes: Buffer): { readonly wallMs: number; readonly answers: StoredAnswer[] } {
  if (bytes.length < ANSWERS_AT || !bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new RangeError('it holds no answers')
  const version = bytes[MAGIC.length]!
  if (version !== VERSION)
    throw new MeshError(
      'MESH_STORAGE_NEWER',
      `the answers were written by another version of meshlet (format ${version})`,
    )
  if (!hashOf(bytes).equals(bytes.subarray(HASH_AT, TIME_AT)))
    throw new RangeError('its contents are not those that were written')
  const answers: StoredAnswer[] = []
  for (let at = ANSWERS_AT; at < bytes.length;) {
    const keyAt = at + FIXED_BYTES
    const bodyAt = keyAt + bytes.readUInt16BE(at + 12)
    const end = bodyAt + bytes.readUInt32BE(at + 14)
    if (end > bytes.length) throw new RangeError('it ends in the middle of an answer')
    const key = bytes.toString('latin1', keyAt, bodyAt)
    const counts = [6, 8, 10].map((i) => bytes.readUInt16BE(at + i))
    answers.push({
      key,
      staleForMs: bytes.readUInt32BE(at) * 1000,
      answer: answerOf(key, bytes.readUInt16BE(at + 4), counts, bytes.subarray(bodyAt, end)),
    })
    at = end
  }
  return { wallMs: Number(bytes.readBigUInt64BE(TIME_AT)), answers }
}

function hashOf(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes.subarray(TIME_AT)).digest()
}

/** By the reader of what comes from the network, which trusts nothing. */
function answerOf(key: string, flags: number, counts: readonly number[], body: Buffer): Answer {
  const name = Buffer.from(key, 'latin1')
  const end = findNameEnd(name, 0) ?? name.length
  const [, type, klass] = /^(\d{1,5}) (\d{1,5}) /.exec(key.slice(end)) ?? []
  const header = Buffer.alloc(HEADER_BYTES)
  writeHeader(header, { id: 0, flags: QR | (flags & (AD | RCODE)), counts: [1, ...counts] })
  const question = Buffer.concat([name.subarray(0, end), Buffer.alloc(4)])
  question.writeUInt16BE(Number(type), end)
  question.writeUInt16BE(Number(klass), end + 2)
  const read = readResponse(Buffer.concat([header, question, body]), { id: 0, question, type: Number(type) })
  if (!read || type === undefined) throw new RangeError('it holds an answer that is none')
  return { rcode: read.rcode, flags: read.flags, records: read.records }
}
