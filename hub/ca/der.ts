/**
 * Few words for node-forge's ASN.1 layer: values to DER and DER to a tree, bytes as Buffers. Forge holds bytes as
 * latin1 strings.
 */
import forge from 'node-forge'
import { MeshError } from '../../core/errors.ts'

const { asn1 } = forge
const { Class, Type } = asn1

export type Der = forge.asn1.Asn1
const universal = (type: forge.asn1.Type, value: string | Der[]): Der =>
  asn1.create(Class.UNIVERSAL, type, typeof value !== 'string', value)
const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

export const sequence = (...items: Der[]): Der => universal(Type.SEQUENCE, items)
export const setOf = (...items: Der[]): Der => universal(Type.SET, items)
export const oid = (dotted: string): Der => universal(Type.OID, asn1.oidToDer(dotted).getBytes())
export const utf8 = (text: string): Der => universal(Type.UTF8, latin1(Buffer.from(text, 'utf8')))
export const boolean = (value: 'true' | 'false'): Der => universal(Type.BOOLEAN, value === 'true' ? '\xff' : '\x00')
/** Unsigned, big-endian; the caller keeps the first bit clear. */
export const integer = (bytes: Uint8Array): Der => universal(Type.INTEGER, latin1(bytes))
export const octets = (bytes: Uint8Array): Der => universal(Type.OCTETSTRING, latin1(bytes))
export const bits = (bytes: Uint8Array, unused = 0): Der =>
  universal(Type.BITSTRING, String.fromCharCode(unused) + latin1(bytes))
/** [tag] EXPLICIT. */
export const explicit = (tag: number, ...items: Der[]): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, items)
/** [tag] IMPLICIT of a primitive type. */
export const implicit = (tag: number, bytes: Uint8Array): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, latin1(bytes))
/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime after; whole seconds. */
export function time(ms: number): Der {
  const date = new Date(ms)
  return date.getUTCFullYear() < 2050
    ? universal(Type.UTCTIME, asn1.dateToUtcTime(date))
    : universal(Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date))
}

export const encode = (tree: Der): Buffer => Buffer.from(asn1.toDer(tree).getBytes(), 'latin1')

/**
 * The tree of `bytes`, read strictly. Bit strings stay bytes.
 * Throws MESH_MALFORMED_INPUT, whatever the bytes are; forge bounds the depth.
 */
export function decode(bytes: Uint8Array): Der {
  try {
    // @types/node-forge knows only the older boolean; with decodeBitStrings a signature that looks like ASN.1 would
    // become a tree.
    return asn1.fromDer(latin1(bytes), {
      strict: true,
      parseAllBytes: true,
      decodeBitStrings: false,
    } as unknown as boolean)
  } catch (cause) {
    throw new MeshError('MESH_MALFORMED_INPUT', 'is not DER', { cause })
  }
}

/** Child `at` of a constructed value. Throws MESH_MALFORMED_INPUT when there is none. */
export function getChild(tree: Der, at: number): Der {
  const found = typeof tree.value === 'string' ? undefined : tree.value[at]
  if (!found) throw new MeshError('MESH_MALFORMED_INPUT', 'the ASN.1 structure is not that of the standard')
  return found
}

export const listChildren = (tree: Der): readonly Der[] => (typeof tree.value === 'string' ? [] : tree.value)

/** Content of a primitive value. Throws MESH_MALFORMED_INPUT for a constructed one. */
export function readContent(tree: Der): Buffer {
  if (typeof tree.value !== 'string')
    throw new MeshError('MESH_MALFORMED_INPUT', 'the ASN.1 structure is not that of the standard')
  return Buffer.from(tree.value, 'latin1')
}

export function readOid(tree: Der): string {
  const bytes = readContent(tree)
  if (tree.type !== Type.OID || bytes.length === 0 || bytes.length > 32)
    throw new MeshError('MESH_MALFORMED_INPUT', 'an object identifier is missing')
  return asn1.derToOid(bytes.toString('latin1'))
}

export const toPem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString('base64').replace(/(.{64})(?!$)/g, '$1\n')}\n-----END ${label}-----\n`

/** The bytes of the first block with one of the labels; undefined when there is none. Linear in the text. */
export function fromPem(pem: string, labels: readonly string[]): Buffer | undefined {
  for (const label of labels) {
    const begin = `-----BEGIN ${label}-----`
    const from = pem.indexOf(begin)
    const to = from < 0 ? -1 : pem.indexOf(`-----END ${label}-----`, from)
    if (to < 0) continue
    const der = Buffer.from(pem.slice(from + begin.length, to), 'base64')
    if (der.length > 0) return der
  }
  return undefined
}
