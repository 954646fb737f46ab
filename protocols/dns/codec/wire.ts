/** Numbers and shapes of a DNS message (RFC 1035 §4.1, RFC 6891 §6.1.2). */

export const HEADER_BYTES = 12
/** Bits of the second header word. OPCODE and RCODE are masks. */
export const QR = 0x8000,
  OPCODE = 0x7800,
  AA = 0x0400,
  TC = 0x0200,
  RD = 0x0100,
  RA = 0x0080,
  AD = 0x0020,
  CD = 0x0010,
  RCODE = 0x000f
/** DNSSEC OK, in the OPT record's TTL field (RFC 3225). */
export const DO = 0x8000

export const Type = {
  A: 1,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  AAAA: 28,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  TKEY: 249,
  ANY: 255,
} as const
export const CLASS_IN = 1

/** RFC 1035 §4.1.1 and RFC 6891 §9: BADVERS needs an OPT record for its upper bits. */
export const Rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const

const NAMES = new Map<number, string>(Object.entries(Rcode).map(([name, code]) => [code, name]))
/** For metrics: a closed set. */
export function formatRcode(code: number): string {
  return NAMES.get(code) ?? 'OTHER'
}

/**
 * Largest answer over UDP that is sent and asked for: what passes every link in one piece (RFC 9715 §3; DNS flag day
 * 2020). Clients without EDNS take 512 (RFC 1035 §2.3.4).
 */
export const MAX_UDP_BYTES = 1232
export const PLAIN_UDP_BYTES = 512
export const MAX_TCP_BYTES = 65_535

/**
 * TTL of what comes from the name table: Istio's, so that a client is never far behind the mesh (istio pkg/dns/client).
 */
export const TABLE_TTL_SEC = 30
/** TTL of a stale answer (RFC 8767 §4). */
export const STALE_TTL_SEC = 30

/**
 * Where the name at `at` ends: behind its last label, or behind a pointer, which is not followed (RFC 1035 §4.1.4), so
 * that the time this takes is bounded by the bytes passed over. @returns undefined for what is no name
 */
export function findNameEnd(bytes: Buffer, at: number): number | undefined {
  for (let i = at, length = 0; i < bytes.length;) {
    const label = bytes[i]!
    if (label === 0) return i + 1
    if (label >= 0xc0) return i + 2 <= bytes.length ? i + 2 : undefined
    if (label > 63) return undefined
    i += label + 1
    if ((length += label + 1) > 254) return undefined
  }
  return undefined
}

/** A copy in lower case, as names are compared (RFC 4343). Lengths of labels are below 64, and no letters. */
export function lowerCase(bytes: Buffer): Buffer {
  const out = Buffer.from(bytes)
  for (let i = 0; i < out.length; i++) if (out[i]! >= 0x41 && out[i]! <= 0x5a) out[i]! += 0x20
  return out
}

/**
 * @param name without the final dot.
 * @returns undefined for what no message can hold (RFC 1035 §2.3.4), or what is no name
 */
export function encodeName(name: string): Buffer | undefined {
  if (name.length === 0 || name.length > 253 || !/^[\x21-\x7e]+$/.test(name)) return undefined
  const labels = name.split('.')
  if (labels.some((l) => l.length === 0 || l.length > 63)) return undefined
  return Buffer.concat([...labels.flatMap((l) => [Buffer.of(l.length), Buffer.from(l, 'latin1')]), Buffer.alloc(1)])
}
