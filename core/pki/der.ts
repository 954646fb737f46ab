/**
 * Reads DER (X.690) as far as certificates and revocation lists need it. Bounded by the input, throws RangeError on
 * anything that is not DER.
 */

export type DerValue = {
  /** The identifier octet; multi-byte tags are not read. */
  readonly tag: number
  readonly content: Buffer
  /** Identifier, length and content. */
  readonly whole: Buffer
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const

/** The one value that `bytes` is. */
export function readDerValue(bytes: Buffer): DerValue {
  const value = valueAt(bytes, 0)
  if (value.whole.length !== bytes.length) throw new RangeError('bytes after the end of a DER value')
  return value
}

/** The values inside a constructed one. */
export function readDerChildren({ tag, content }: DerValue): DerValue[] {
  if ((tag & 0x20) === 0) throw new RangeError('a DER value has no parts')
  const parts: DerValue[] = []
  for (let at = 0; at < content.length;) {
    const part = valueAt(content, at)
    parts.push(part)
    at += part.whole.length
  }
  return parts
}

/** RFC 5280 §4.1.2.5: UTCTime or GeneralizedTime, always in Zulu and with seconds. Milliseconds since the epoch. */
export function readDerTime({ tag, content }: DerValue): number {
  const text = content.toString('latin1')
  const m = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (!m || (tag === TAG.utcTime) !== (m[1]!.length === 2) || (tag !== TAG.utcTime && tag !== TAG.generalizedTime))
    throw new RangeError('not a DER time')
  const short = Number(m[1])
  const year = tag === TAG.generalizedTime ? short : short < 50 ? 2000 + short : 1900 + short
  return Date.UTC(year, Number(m[2]) - 1, Number(m[3]), Number(m[4]), Number(m[5]), Number(m[6]))
}

function valueAt(bytes: Buffer, at: number): DerValue {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw new RangeError('not DER')
  let start = at + 2
  let length = first
  if (first >= 0x80) {
    const octets = first & 0x7f
    if (octets === 0 || octets > 4 || start + octets > bytes.length) throw new RangeError('not DER: length')
    length = bytes.readUIntBE(start, octets)
    // The shortest form is the only one (X.690 §10.1).
    if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw new RangeError('not DER: length')
    start += octets
  }
  if (start + length > bytes.length) throw new RangeError('not DER: cut short')
  return { tag, content: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) }
}
