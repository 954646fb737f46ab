/**
 * Metadata exchange over TCP, which the ALPN name `istio-peer-exchange` announces: each side says who it is before its
 * first byte (istio/proxy, metadata_exchange). Four bytes of magic, four of length, and a google.protobuf.Any.
 */
import type { Workload } from '../../model/access-log/workload.ts'
import { findBytes, MessageWriter, readMessage } from '../protobuf/message.ts'
import { decodeStruct, encodeStruct } from '../protobuf/struct.ts'
import { PEER_METADATA, PEER_METADATA_ID } from './exchange-headers.ts'
import { listPeerFields, readPeerFields } from './peer.ts'

const MAGIC = 0x3d_23_04_67
const HEAD_BYTES = 8
const TYPE = 'type.googleapis.com/google.protobuf.Struct'
/** A workload's metadata is some 400 bytes; it waits in memory until it is whole. */
export const MAX_PREAMBLE_BYTES = 16 * 1024

export function encodePreamble(own: Workload, nodeId: string): Buffer {
  const struct = encodeStruct({ [PEER_METADATA]: listPeerFields(own), [PEER_METADATA_ID]: nodeId })
  const any = new MessageWriter().text(1, TYPE).message(2, struct).finish()
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32BE(MAGIC)
  head.writeUInt32BE(any.length, 4)
  return Buffer.concat([head, any])
}

/** Takes the peer's preamble from in front of its bytes. Without one they go on as they came, as in Envoy. */
export class PreambleReader {
  readonly #onPeer: (peer: Workload | undefined) => void
  #pending: Buffer | undefined = Buffer.alloc(0)

  /** @param onPeer called once, undefined where the peer said nothing that could be read */
  constructor(onPeer: (peer: Workload | undefined) => void) {
    this.#onPeer = onPeer
  }

  /** @returns what is to go on of it; `too-large`: the peer announces more than it may */
  take(chunk: Buffer): Buffer | 'too-large' {
    if (this.#pending === undefined) return chunk
    const bytes = Buffer.concat([this.#pending, chunk])
    if (!couldBegin(bytes)) return this.#finish(undefined, bytes)
    const length = bytes.length < HEAD_BYTES ? 0 : bytes.readUInt32BE(4)
    if (length > MAX_PREAMBLE_BYTES) return 'too-large'
    if (bytes.length < HEAD_BYTES || bytes.length < HEAD_BYTES + length) {
      this.#pending = bytes
      return NOTHING
    }
    const end = HEAD_BYTES + length
    return this.#finish(parseAny(bytes.subarray(HEAD_BYTES, end)), bytes.subarray(end))
  }

  /** The peer has sent all. @returns what was no preamble after all */
  end(): Buffer {
    const rest = this.#pending
    return rest === undefined ? NOTHING : this.#finish(undefined, rest)
  }

  #finish(peer: Workload | undefined, rest: Buffer): Buffer {
    this.#pending = undefined
    this.#onPeer(peer)
    return rest
  }
}
const NOTHING = Buffer.alloc(0)

function couldBegin(bytes: Buffer): boolean {
  const magic = Buffer.alloc(4)
  magic.writeUInt32BE(MAGIC)
  const length = Math.min(4, bytes.length)
  return bytes.compare(magic, 0, length, 0, length) === 0
}

function parseAny(bytes: Buffer): Workload | undefined {
  const fields = readMessage(bytes)
  const value = fields && findBytes(fields, 2)
  const said = value && decodeStruct(value)?.[PEER_METADATA]
  return readPeerFields(said)
}
