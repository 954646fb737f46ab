/** A client's query, from bytes to what is asked. */
import { decode, type DecodedPacket, type OptAnswer } from 'dns-packet'
import { AD, CD, DO, HEADER_BYTES, lowerCase, findNameEnd, OPCODE, QR, Rcode, RD } from './wire.ts'

export type Query = {
  readonly id: number
  /** RD, AD and CD as the client set them. */
  readonly flags: number
  /** The question section as it came; an answer repeats it, letter case included. */
  readonly question: Buffer
  /**
   * Lower case, without the final dot. Undefined for a name that no host can have (other bytes than ASCII, a dot inside
   * a label).
   */
  readonly name: string | undefined
  readonly type: number
  readonly klass: number
  readonly edns: { readonly udpBytes: number; readonly version: number; readonly dnssecOk: boolean } | undefined
  /** Equal for queries that have the same answer. */
  readonly key: string
}
/** It is no query, but can be answered with an error. */
export type Unreadable = { readonly id: number; readonly flags: number; readonly rcode: number }

/** A question with the longest name and options of 3,800 bytes. */
export const MAX_QUERY_BYTES = 4096
/** OPT, TSIG, SIG(0); more has no meaning in a query. */
const MAX_ADDITIONALS = 4
const HOST_BYTE = /^[\x21-\x2d\x2f-\x7e]*$/

/**
 * Reads one message (RFC 1035 §4.1, RFC 6891 §6.1, RFC 9619: one question). Never throws.
 * @returns undefined for what must not be answered: an answer, or too little to have an id
 */
export function readQuery(bytes: Buffer): Query | Unreadable | undefined {
  if (bytes.length < HEADER_BYTES) return undefined
  const [id, flags] = [bytes.readUInt16BE(0), bytes.readUInt16BE(2)]
  // Two servers that answer each other's answers would do so for ever.
  if ((flags & QR) !== 0) return undefined
  if ((flags & OPCODE) !== 0) return { id, flags, rcode: Rcode.NOTIMP }
  return readQuestion(bytes, id, flags & (RD | AD | CD)) ?? { id, flags, rcode: Rcode.FORMERR }
}

function readQuestion(bytes: Buffer, id: number, flags: number): Query | undefined {
  const counts = [4, 6, 8].map((at) => bytes.readUInt16BE(at)).join()
  if (bytes.length > MAX_QUERY_BYTES || counts !== '1,0,0' || bytes.readUInt16BE(10) > MAX_ADDITIONALS) return undefined
  const end = findNameEnd(bytes, HEADER_BYTES)
  // A name that ends in a pointer: there is nothing before the question that it could point to.
  if (end === undefined || bytes[end - 1] !== 0 || end + 4 > bytes.length) return undefined
  const packet = decoded(bytes)
  const options = packet?.additionals?.filter((a): a is OptAnswer => a.type === 'OPT')
  if (!packet || !options || options.length > 1 || options.some((o) => o.name !== '.')) return undefined
  const [opt] = options
  const question = bytes.subarray(HEADER_BYTES, end + 4)
  const [type, klass] = [bytes.readUInt16BE(end), bytes.readUInt16BE(end + 2)]
  const dnssecOk = opt !== undefined && (opt.flags & DO) !== 0
  const name = lowerCase(bytes.subarray(HEADER_BYTES, end)).toString('latin1')
  return {
    id,
    flags,
    question,
    type,
    klass,
    name: hostName(bytes.subarray(HEADER_BYTES, end)),
    edns: opt && { udpBytes: opt.udpPayloadSize, version: opt.ednsVersion, dnssecOk },
    key: `${name}${type} ${klass} ${flags & (RD | CD)}${dnssecOk ? ' DO' : ''}`,
  }
}

/** Bounded by MAX_QUERY_BYTES: names in it may point to each other. */
function decoded(bytes: Buffer): DecodedPacket | undefined {
  try {
    const packet = decode(bytes)
    return decode.bytes === bytes.length ? packet : undefined
  } catch {
    return undefined
  }
}

function hostName(wire: Buffer): string | undefined {
  const labels: string[] = []
  for (let at = 0; wire[at]! > 0; at += wire[at]! + 1) {
    const label = wire.toString('latin1', at + 1, at + 1 + wire[at]!)
    if (!HOST_BYTE.test(label)) return undefined
    labels.push(label.toLowerCase())
  }
  return labels.join('.')
}
