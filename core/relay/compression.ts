/**
 * Messages of the relay are small and alike: what Zstandard knows beforehand saves more than what it finds. The first
 * byte of a message says how the rest is packed.
 */
import { createHash } from 'node:crypto'
import zlib from 'node:zlib'
import { MeshError } from '../errors.ts'
import { DICTIONARY } from './dictionary.ts'
import { PROTOCOL } from './kinds.ts'

const PACKING = { plain: 0, alone: 1, withDictionary: 2 } as const
/** Shorter ones only grow. */
const WORTH_BYTES = 40
/** A wrong base or dictionary is found out by it. */
const CHECKED = { [zlib.constants.ZSTD_c_checksumFlag]: 1 }

/** PROTOCOL with this dictionary: offered before PROTOCOL alone, and agreed on where both sides have the same. */
export const DICTIONARY_PROTOCOL = `${PROTOCOL}.${createHash('sha256').update(DICTIONARY).digest('hex').slice(0, 8)}`

export function packMessage(message: Uint8Array, p: { readonly withDictionary: boolean }): Uint8Array {
  if (message.length >= WORTH_BYTES) {
    const packed = zlib.zstdCompressSync(message, p.withDictionary ? { dictionary: DICTIONARY } : {})
    const packing = p.withDictionary ? PACKING.withDictionary : PACKING.alone
    if (packed.length < message.length) return Buffer.concat([Buffer.of(packing), packed])
  }
  return Buffer.concat([Buffer.of(PACKING.plain), message])
}

/** @param maxBytes of what comes out. Throws MESH_CONTROL_PROTOCOL. */
export function unpackMessage(message: Uint8Array, maxBytes: number): Uint8Array {
  const [packing, body] = [message[0], message.subarray(1)]
  if (packing === PACKING.plain && body.length <= maxBytes) return body
  if (packing !== PACKING.alone && packing !== PACKING.withDictionary)
    throw new MeshError('MESH_CONTROL_PROTOCOL', `a message of the relay is packed in an unknown way, ${packing}`)
  return decompress(body, maxBytes, packing === PACKING.withDictionary ? DICTIONARY : undefined)
}

/** What makes `value` of `base`. */
export function packAgainst(base: Uint8Array, value: Uint8Array): Uint8Array {
  return zlib.zstdCompressSync(value, { dictionary: base, params: CHECKED })
}
/** Throws MESH_CONTROL_PROTOCOL: it was packed against something else. */
export function unpackAgainst(base: Uint8Array, packed: Uint8Array, maxBytes: number): Uint8Array {
  return decompress(packed, maxBytes, base)
}

function decompress(packed: Uint8Array, maxBytes: number, dictionary: Uint8Array | undefined): Uint8Array {
  try {
    return zlib.zstdDecompressSync(packed, { maxOutputLength: maxBytes, ...(dictionary && { dictionary }) })
  } catch (cause) {
    throw new MeshError('MESH_CONTROL_PROTOCOL', 'a message of the relay cannot be unpacked', { cause })
  }
}
