/**
 * How a device proves its key to the relay: one value of the HTTP header that opens the connection, as short as it can
 * be, for a link that is paid by the byte. What both sides know is signed and not sent: the path, and the exporter of
 * the TLS connection (RFC 9266), which makes it good for that connection alone.
 *
 * | bytes | what                                                          |
 * | ----- | ------------------------------------------------------------- |
 * | 1     | 1, the version                                                |
 * | 33    | the device's key, compressed (SEC 1 §2.3.3)                   |
 * | 4     | counter of the last renewal, big-endian                       |
 * | 1, n  | length of the chain's value of the last renewal, and the value |
 * | 1, n  | length of the nonce of a renewal that has no answer, and it   |
 * | 64    | signature: r and s of ECDSA with SHA-256 (RFC 7518 §3.4)      |
 *
 * `signed`: CONTEXT, the exporter, the path, a zero byte, and everything before the signature. No JWS can read like it.
 */
import { MAX_CHAIN_CHARS } from './enrollment.ts'

export const SCHEME = 'Meshlet-Key'
const CONTEXT = Buffer.from('meshlet relay connection v1\0')
const VERSION = 1
export const COMPRESSED_KEY_BYTES = 33
const SIGNATURE_BYTES = 64
const HEAD_BYTES = 1 + COMPRESSED_KEY_BYTES + 4
/** Everything at its longest, base64url. */
const MAX_PROOF_CHARS = Math.ceil(((HEAD_BYTES + 2 * (1 + MAX_CHAIN_CHARS) + SIGNATURE_BYTES) * 4) / 3)

/** Where the device stands in its chain of renewals. */
export type ChainPosition = { readonly counter: number; readonly chain: string; readonly nonce: string | undefined }
export type ConnectionProof = {
  /** Compressed. */
  readonly key: Buffer
  readonly position: ChainPosition
}
export type ProvedConnection = { readonly binding: Buffer; readonly path: string }
export type ReadProof = ConnectionProof & { readonly signed: Buffer; readonly signature: Buffer }

/** @returns everything but the signature, and what is to be signed */
export function encodeConnectionProof(
  { key, position }: ConnectionProof,
  to: ProvedConnection,
): { readonly said: Buffer; readonly signed: Buffer } {
  const counter = Buffer.alloc(4)
  counter.writeUInt32BE(position.counter)
  const said = Buffer.concat([
    Buffer.of(VERSION),
    key,
    counter,
    ...[position.chain, position.nonce ?? ''].flatMap((text) => {
      const bytes = Buffer.from(text, 'base64url')
      return [Buffer.of(bytes.length), bytes]
    }),
  ])
  return { said, signed: toSigned(said, to) }
}

/** Undefined: it is none. */
export function decodeConnectionProof(text: string, to: ProvedConnection): ReadProof | undefined {
  if (text.length > MAX_PROOF_CHARS || !/^[\w-]+$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.length < HEAD_BYTES + 2 + SIGNATURE_BYTES || bytes[0] !== VERSION) return undefined
  const end = bytes.length - SIGNATURE_BYTES
  const chain = readText(bytes, HEAD_BYTES)
  const nonce = readText(bytes, chain.end)
  if (nonce.end !== end) return undefined
  return {
    key: bytes.subarray(1, 1 + COMPRESSED_KEY_BYTES),
    position: {
      counter: bytes.readUInt32BE(1 + COMPRESSED_KEY_BYTES),
      chain: chain.text,
      nonce: nonce.text === '' ? undefined : nonce.text,
    },
    signed: toSigned(bytes.subarray(0, end), to),
    signature: bytes.subarray(end),
  }
}

function toSigned(said: Buffer, { binding, path }: ProvedConnection): Buffer {
  return Buffer.concat([CONTEXT, binding, Buffer.from(path), Buffer.of(0), said])
}

/** What is cut off ends elsewhere than where the signature begins. */
function readText(bytes: Buffer, at: number): { readonly text: string; readonly end: number } {
  const end = at + 1 + (bytes[at] ?? 0)
  return { text: bytes.subarray(at + 1, end).toString('base64url'), end }
}
