/**
 * What an upstream resolver answered: checked, and taken apart as far as a cache needs. Records are passed on as they
 * came.
 */
import { NO_RECORDS, type Records } from './answer.ts'
import { AD, HEADER_BYTES, lowerCase, findNameEnd, OPCODE, QR, RCODE, Rcode, TC, Type } from './wire.ts'

export type Response = {
  /** Header and OPT record together (RFC 6891 §6.1.3). */
  readonly rcode: number
  readonly truncated: boolean
  /** AD as it came; AA is not passed on, because this is no authority for the name. */
  readonly flags: number
  /** Whether the server knows EDNS. */
  readonly edns: boolean
  readonly records: Records
  /**
   * Seconds for which it holds: least TTL of the answers, or RFC 2308 §5 for a name or type that does not exist.
   * Undefined = not to be kept.
   */
  readonly ttlSec: number | undefined
  /** It says that there is no such name, or none of that type. */
  readonly negative: boolean
}
export type Expected = {
  readonly id: number
  /** Question section that was sent. */ readonly question: Buffer
  readonly type: number
}

type Found = {
  readonly section: number
  readonly type: number
  readonly ttlAt: number
  readonly dataAt: number
  readonly end: number
}

/**
 * RFC 5452 §9.1: only an answer to what was asked is one. The address is the socket's matter.
 * @returns undefined for anything else, which is then waited past. Never throws.
 */
export function readResponse(bytes: Buffer, expected: Expected): Response | undefined {
  if (bytes.length < HEADER_BYTES) return undefined
  const flags = bytes.readUInt16BE(2)
  if (bytes.readUInt16BE(0) !== expected.id || (flags & QR) === 0 || (flags & OPCODE) !== 0) return undefined
  const start = HEADER_BYTES + expected.question.length
  const low = flags & RCODE
  // Servers that do not understand a message may answer it by its header alone.
  if (bytes.readUInt16BE(4) === 0 && low !== Rcode.NOERROR && low !== Rcode.NXDOMAIN) return bare(low)
  if (bytes.readUInt16BE(4) !== 1 || !isSameQuestion(bytes.subarray(HEADER_BYTES, start), expected.question))
    return undefined
  const found = walk(bytes, start)
  // A cut answer may end in the middle of a record; it is asked for again over TCP.
  if (!found) return (flags & TC) === 0 ? undefined : { ...bare(low), truncated: true }
  const opt = found.find((r) => r.type === Type.OPT)
  const rcode = low | (opt ? bytes[opt.ttlAt]! << 4 : 0)
  const negative = rcode === Rcode.NXDOMAIN || (rcode === Rcode.NOERROR && isNodata(found, expected.type))
  return {
    rcode,
    truncated: (flags & TC) !== 0,
    flags: flags & AD,
    edns: opt !== undefined,
    negative,
    records: kept(bytes, start, found),
    ttlSec: rcode === Rcode.NOERROR || rcode === Rcode.NXDOMAIN ? ttlOf(bytes, found, negative) : undefined,
  }
}

function bare(rcode: number): Response {
  return { rcode, truncated: false, flags: 0, edns: false, records: NO_RECORDS, ttlSec: undefined, negative: false }
}

function isSameQuestion(came: Buffer, sent: Buffer): boolean {
  const nameBytes = sent.length - 4
  return (
    came.length === sent.length &&
    came.subarray(nameBytes).equals(sent.subarray(nameBytes)) &&
    (came.equals(sent) || lowerCase(came.subarray(0, nameBytes)).equals(lowerCase(sent.subarray(0, nameBytes))))
  )
}

/**
 * All records in order; undefined when the message ends in the middle of one. Pointers are not followed, so this takes
 * linear time.
 */
function walk(bytes: Buffer, start: number): Found[] | undefined {
  const found: Found[] = []
  let at = start
  for (const section of [0, 1, 2]) {
    for (let left = bytes.readUInt16BE(6 + 2 * section); left > 0; left--) {
      const name = findNameEnd(bytes, at)
      if (name === undefined || name + 10 > bytes.length) return undefined
      const end = name + 10 + bytes.readUInt16BE(name + 8)
      if (end > bytes.length) return undefined
      found.push({ section, type: bytes.readUInt16BE(name), ttlAt: name + 4, dataAt: name + 10, end })
      at = end
    }
  }
  return found
}

/**
 * Up to the first record that speaks of this hop only (OPT, TSIG): what stands behind it is additional by definition,
 * and pointers stay right.
 */
function kept(bytes: Buffer, start: number, found: readonly Found[]): Records {
  const hop = found.findIndex((r) => r.type === Type.OPT || (r.type >= Type.TKEY && r.type < Type.ANY))
  const records = hop < 0 ? found : found.slice(0, hop)
  const counts: [number, number, number] = [0, 0, 0]
  for (const { section } of records) counts[section]!++
  const bodyEnd = records.at(-1)?.end ?? start
  return {
    counts,
    body: Buffer.from(bytes.subarray(start, bodyEnd)),
    ends: records.map((r) => r.end - start),
    ttlAt: records.map((r) => r.ttlAt - start),
  }
}

/** NOERROR without a record of the asked type, at most aliases (RFC 2308 §2.2). */
function isNodata(found: readonly Found[], type: number): boolean {
  const answers = found.filter((r) => r.section === 0)
  return (
    answers.length === 0 || (type !== Type.ANY && type !== Type.CNAME && answers.every((r) => r.type === Type.CNAME))
  )
}

function ttlOf(bytes: Buffer, found: readonly Found[], negative: boolean): number | undefined {
  const ttls = found.filter((r) => r.section === 0).map((r) => bytes.readUInt32BE(r.ttlAt))
  if (negative) {
    const soa = found.find((r) => r.section === 1 && r.type === Type.SOA)
    // MINIMUM is the last of its fields. Without an SOA record nobody knows for how long it holds.
    if (!soa || soa.end - soa.dataAt < 4) return undefined
    ttls.push(bytes.readUInt32BE(soa.ttlAt), bytes.readUInt32BE(soa.end - 4))
  }
  return Math.min(...ttls)
}
