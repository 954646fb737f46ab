/**
 * Payloads that Eclipse Tahu compresses: an outer payload whose `uuid` says so, with the inner one in its `body`. The
 * metric `algorithm` names GZIP or DEFLATE; the first bytes of the body say the same, also where it is left out. The
 * standard does not have them, but Tahu's libraries and Ignition read and write them.
 */
import zlib from 'node:zlib'
import { LENGTH_DELIMITED, WireReader } from './wire.ts'

const UUID = { number: 4, value: Buffer.from('SPBV1.0_COMPRESSED') }
export const BODY = 5
const GZIP_MAGIC = [0x1f, 0x8b] as const

/** @returns undefined: it is not compressed, or cannot be read */
export function findBody(payload: Uint8Array): Uint8Array | undefined {
  const reader = new WireReader(payload)
  let body: Uint8Array | undefined
  let isCompressed = false
  while (reader.next()) {
    if ((reader.number !== UUID.number && reader.number !== BODY) || reader.type !== LENGTH_DELIMITED) continue
    const content = payload.subarray(reader.from, reader.at)
    if (reader.number === BODY) body = content
    else isCompressed = UUID.value.equals(content)
  }
  return isCompressed && !reader.isMalformed ? body : undefined
}

/** @param maxBytes a small body may inflate to a thousand times its size */
export function readBody(body: Uint8Array, maxBytes: number): Uint8Array | 'too-large' | 'unreadable' {
  try {
    return zlib.unzipSync(body, { maxOutputLength: maxBytes })
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too-large' : 'unreadable'
  }
}

/** @param body how that one was compressed */
export function encodeAs(body: Uint8Array, content: Uint8Array): Uint8Array {
  const isGzip = GZIP_MAGIC.every((byte, i) => body[i] === byte)
  return isGzip ? zlib.gzipSync(content) : zlib.deflateSync(content)
}
