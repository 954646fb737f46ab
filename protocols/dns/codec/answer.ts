/** Answers, from records to bytes that fit what the client takes. */
import type { Random } from '../../../core/os/clock.ts'
import { ipBytes } from '../../../model/ip.ts'
import type { Found } from '../names/name-index.ts'
import type { Query } from './query.ts'
import {
  AA,
  AD,
  CD,
  CLASS_IN,
  DO,
  HEADER_BYTES,
  MAX_TCP_BYTES,
  MAX_UDP_BYTES,
  PLAIN_UDP_BYTES,
  QR,
  RA,
  RD,
  TABLE_TTL_SEC,
  TC,
  Type,
} from './wire.ts'

/** Everything behind the question; names in it may point into the question. */
export type Records = {
  /** Records in the answer, authority and additional section. */
  readonly counts: readonly [number, number, number]
  readonly body: Buffer
  /** Where each record ends, and where its TTL stands, from the beginning of `body`. */
  readonly ends: readonly number[]
  readonly ttlAt: readonly number[]
}
export type Answer = { readonly rcode: number; /** AA and AD. */ readonly flags: number; readonly records: Records }

export const NO_RECORDS: Records = { counts: [0, 0, 0], body: Buffer.alloc(0), ends: [], ttlAt: [] }
export const createPlainAnswer = (rcode: number): Answer => ({ rcode, flags: 0, records: NO_RECORDS })

/** Why it is not the answer that was hoped for (RFC 8914 §4), for whoever looks with dig. */
export type Explanation = { readonly code: number; readonly text: string }
export const STALE: Explanation = { code: 3, text: 'no upstream resolver answers' }
export const NOT_READY: Explanation = { code: 14, text: 'the mesh has not sent its names yet' }
export const NO_AUTHORITY: Explanation = { code: 22, text: 'no upstream resolver answers' }

const ALIAS_HEADER_BYTES = 12

/**
 * What the name table says: addresses of the family that is asked for, in random order so that clients spread, behind
 * the alias. For another type no records: the name exists (NODATA, RFC 2308 §2.2), and NXDOMAIN would be taken for all
 * of it. ANY gets both families (RFC 8482 §4.1).
 */
export function createTableAnswer(query: Query, { host, alias }: Found, random: Random): Answer {
  const wanted = host.addresses
    .map((a) => ipBytes(a))
    .filter(
      (ip): ip is Uint8Array =>
        ip !== undefined && (query.type === Type.ANY || query.type === (ip.length === 4 ? Type.A : Type.AAAA)),
    )
  const isAlias = alias !== undefined && (wanted.length > 0 || query.type === Type.CNAME)
  const owner = isAlias ? HEADER_BYTES + query.question.length + ALIAS_HEADER_BYTES : HEADER_BYTES
  const records = [
    // The alias is the beginning of the asked name.
    ...(isAlias
      ? [
          record(
            HEADER_BYTES,
            Type.CNAME,
            Buffer.concat([query.question.subarray(0, alias.length + 1), Buffer.alloc(1)]),
          ),
        ]
      : []),
    ...shuffled(wanted, random).map((ip) => record(owner, ip.length === 4 ? Type.A : Type.AAAA, ip)),
  ]
  return ownAnswer(records)
}

/**
 * Whether the table alone answers a question of this type. Services (and what isMeshOnly) exist here and nowhere else;
 * of other hosts (ServiceEntry) it knows addresses, and their other records, those for mail and certificates among
 * them, are where they always were. HTTPS and SVCB hold addresses too (RFC 9460 §7.3): passed on, they would lead
 * clients past the mesh.
 */
export function isTables(type: number, { host }: Found): boolean {
  return host.service !== undefined || ADDRESS_TYPES.has(type)
}
const ADDRESS_TYPES = new Set<number>([Type.A, Type.AAAA, Type.CNAME, Type.SVCB, Type.HTTPS, Type.ANY])

/** @param names in wire form */
export function createPointerAnswer(names: readonly Buffer[]): Answer {
  return ownAnswer(names.map((name) => record(HEADER_BYTES, Type.PTR, name)))
}
/** The name exists, and there is nothing of that type. */
export const NODATA: Answer = { rcode: 0, flags: AA, records: NO_RECORDS }

function ownAnswer(records: readonly Buffer[]): Answer {
  const ends: number[] = []
  let end = 0
  for (const r of records) ends.push((end += r.length))
  return {
    rcode: 0,
    flags: AA,
    records: { counts: [records.length, 0, 0], body: Buffer.concat(records), ends, ttlAt: [] },
  }
}

/** @param owner where in the message the record's name stands (RFC 1035 §4.1.4) */
function record(owner: number, type: number, data: Uint8Array): Buffer {
  const out = Buffer.alloc(12 + data.length)
  out.writeUInt16BE(0xc000 | owner, 0)
  out.writeUInt16BE(type, 2)
  out.writeUInt16BE(CLASS_IN, 4)
  out.writeUInt32BE(TABLE_TTL_SEC, 6)
  out.writeUInt16BE(data.length, 10)
  out.set(data, 12)
  return out
}

function shuffled<T>(all: readonly T[], random: Random): T[] {
  const out = [...all]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random.float() * (i + 1))
    const moved = out[i]!
    out[i] = out[j]!
    out[j] = moved
  }
  return out
}

export type EncodeOptions = {
  readonly over: 'udp' | 'tcp'
  /** TTL now, from the TTL as it was received; left out = as it stands. */
  readonly ttlSec?: (received: number) => number
  readonly why?: Explanation | undefined
}

/**
 * Records that do not fit are left out from the end, and TC says so when answers are among them (RFC 1035 §4.1.1, RFC
 * 2181 §9).
 */
export function encodeAnswer(
  query: Query,
  { rcode, flags, records }: Answer,
  { over, ttlSec, why }: EncodeOptions,
): Buffer {
  const opt = query.edns ? encodeOptRecord(query.edns.dnssecOk, rcode, why) : Buffer.alloc(0)
  const start = HEADER_BYTES + query.question.length
  const room = maxBytes(query, over) - start - opt.length
  let kept = records.ends.length
  while (kept > 0 && records.ends[kept - 1]! > room) kept--
  const bodyEnd = kept === 0 ? 0 : records.ends[kept - 1]!
  const [answers, authorities] = records.counts
  const out = Buffer.alloc(start + bodyEnd + opt.length)
  writeHeader(out, {
    id: query.id,
    flags:
      QR |
      RA |
      (query.flags & (RD | CD)) |
      (wantsAd(query) ? flags : flags & ~AD) |
      (kept < answers ? TC : 0) |
      (rcode & 0xf),
    counts: [
      1,
      Math.min(kept, answers),
      Math.max(0, Math.min(kept - answers, authorities)),
      Math.max(0, kept - answers - authorities) + (query.edns ? 1 : 0),
    ],
  })
  out.set(query.question, HEADER_BYTES)
  out.set(records.body.subarray(0, bodyEnd), start)
  out.set(opt, start + bodyEnd)
  if (ttlSec)
    for (const at of records.ttlAt.slice(0, kept)) out.writeUInt32BE(ttlSec(records.body.readUInt32BE(at)), start + at)
  return out
}

/** The header alone, for a query that cannot be read. */
export function encodeRefusal({
  id,
  flags,
  rcode,
}: {
  readonly id: number
  readonly flags: number
  readonly rcode: number
}): Buffer {
  const out = Buffer.alloc(HEADER_BYTES)
  // OPCODE and RD are repeated (RFC 1035 §4.1.1).
  writeHeader(out, { id, flags: QR | (flags & 0x7900) | rcode, counts: [0, 0, 0, 0] })
  return out
}

export function writeHeader(
  out: Buffer,
  h: { readonly id: number; readonly flags: number; readonly counts: readonly number[] },
): void {
  out.writeUInt16BE(h.id, 0)
  out.writeUInt16BE(h.flags, 2)
  for (const [i, count] of h.counts.entries()) out.writeUInt16BE(count, 4 + 2 * i)
}

/** RFC 6891 §6.1.2, with an Extended DNS Error (RFC 8914 §2). */
export function encodeOptRecord(dnssecOk: boolean, rcode: number, why?: Explanation): Buffer {
  const text = Buffer.from(why?.text ?? '')
  const option = why ? 6 + text.length : 0
  const out = Buffer.alloc(11 + option)
  out.writeUInt16BE(Type.OPT, 1)
  out.writeUInt16BE(MAX_UDP_BYTES, 3)
  out[5] = rcode >> 4
  out.writeUInt16BE(dnssecOk ? DO : 0, 7)
  out.writeUInt16BE(option, 9)
  if (!why) return out
  out.writeUInt16BE(15, 11)
  out.writeUInt16BE(2 + text.length, 13)
  out.writeUInt16BE(why.code, 15)
  out.set(text, 17)
  return out
}

/** RFC 6840 §5.7: AD in a query asks for AD in the answer, and so does DO. */
function wantsAd({ flags, edns }: Query): boolean {
  return (flags & AD) !== 0 || (edns?.dnssecOk ?? false)
}

function maxBytes({ edns }: Query, over: 'udp' | 'tcp'): number {
  if (over === 'tcp') return MAX_TCP_BYTES
  return edns ? Math.min(Math.max(edns.udpBytes, PLAIN_UDP_BYTES), MAX_UDP_BYTES) : PLAIN_UDP_BYTES
}
