/**
 * Frames of the relay: many streams over one WebSocket between an agent and its hub. A binary message of the WebSocket
 * is one frame or several, back to back:
 *
 * | bytes    | what                                                                     |
 * | -------- | ------------------------------------------------------------------------ |
 * | 1        | type, as in FRAME                                                        |
 * | 1 to 5   | id of the stream, varint: odd when the agent opened it, even when the hub |
 * | 1 to 5   | length of the payload, varint, at most MAX_PAYLOAD_BYTES                 |
 * | length   | payload                                                                  |
 *
 * | type   | payload                                                                        |
 * | ------ | ------------------------------------------------------------------------------ |
 * | open   | 1 byte, the kind of the stream (KINDS), then what the kind says, mostly nothing |
 * | part   | part of a message; more follow                                                 |
 * | last   | last part of a message                                                         |
 * | credit | varint: the other side may send so many bytes of `part` and `last` more        |
 * | end    | nothing; this side sends no more messages                                      |
 * | reset  | code of the error, a line feed, what happened; the stream is over both ways    |
 */
import { MeshError } from '../errors.ts'

export const FRAME = { open: 0, part: 1, last: 2, credit: 3, end: 4, reset: 5 } as const
export type FrameType = (typeof FRAME)[keyof typeof FRAME]
export type Frame = { readonly type: FrameType; readonly stream: number; readonly payload: Uint8Array }

/** A long message lets others pass between its parts. */
export const MAX_PAYLOAD_BYTES = 16 * 1024
/** Of type, id and length. */
export const MAX_HEAD_BYTES = 9
const MAX_VARINT_BYTES = 5

export function encodeFrame({ type, stream, payload }: Frame): Uint8Array {
  const frame = Buffer.allocUnsafe(MAX_HEAD_BYTES + payload.length)
  frame[0] = type
  let at = writeVarint(frame, 1, stream)
  at = writeVarint(frame, at, payload.length)
  frame.set(payload, at)
  return frame.subarray(0, at + payload.length)
}

/** Views of `message`, in order. Throws MESH_CONTROL_PROTOCOL. */
export function decodeFrames(message: Uint8Array): Frame[] {
  const frames: Frame[] = []
  let at = 0
  while (at < message.length) {
    const type = message[at]! as FrameType
    if (type > FRAME.reset) throw broken(`there is no frame of type ${type}`)
    const stream = readVarint(message, at + 1)
    const length = readVarint(message, stream.end)
    if (length.value > MAX_PAYLOAD_BYTES) throw broken(`a frame has ${length.value} bytes, above ${MAX_PAYLOAD_BYTES}`)
    at = length.end + length.value
    if (at > message.length) throw broken('a frame is cut off')
    frames.push({ type, stream: stream.value, payload: message.subarray(length.end, at) })
  }
  return frames
}

export function encodeVarint(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(MAX_VARINT_BYTES)
  return bytes.subarray(0, writeVarint(bytes, 0, value))
}

/** At most 32 bits. Throws MESH_CONTROL_PROTOCOL. */
export function readVarint(bytes: Uint8Array, from: number): { readonly value: number; readonly end: number } {
  let value = 0
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const byte = bytes[from + i]
    if (byte === undefined) throw broken('a number is cut off')
    value += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) {
      if (value > 0xffff_ffff) break
      return { value, end: from + i + 1 }
    }
  }
  throw broken('a number has more than 32 bits')
}

/** @returns where it ends */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) | 0x80
  bytes[at++] = rest
  return at
}

function broken(what: string): MeshError {
  return new MeshError('MESH_CONTROL_PROTOCOL', `the relay's other side sent what is no frame: ${what}`)
}
