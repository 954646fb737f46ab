/**
 * MQTT as bytes, by no codec of ours: what the load generator and the kill run's publishers write and read (MQTT 3.1.1
 * §2, MQTT 5.0 §2).
 */
import type net from 'node:net'

export type Version = 4 | 5
export const TYPE = { connack: 2, publish: 3, puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7, suback: 9 } as const
export const DISCONNECT = Buffer.from([0xe0, 0])

const text = (s: string): Buffer => Buffer.concat([Buffer.from([s.length >> 8, s.length & 255]), Buffer.from(s)])
const packet = (first: number, body: Buffer): Buffer => {
  const length: number[] = []
  for (let n = body.length; ;) {
    length.push((n & 127) | (n > 127 ? 128 : 0))
    n >>= 7
    if (n === 0) break
  }
  return Buffer.concat([Buffer.from([first, ...length]), body])
}
const NO_PROPERTIES = Buffer.from([0])
const SESSION_EXPIRY = 0x11

/** @param expirySec of the session, MQTT 5 only */
export function connectPacket(p: {
  readonly id: string
  readonly version?: Version
  readonly clean: boolean
  readonly expirySec?: number
}): Buffer {
  const { version = 4, expirySec = 0 } = p
  const properties = Buffer.from([5, SESSION_EXPIRY, 0, 0, 0, 0])
  properties.writeUInt32BE(expirySec, 2)
  return packet(
    0x10,
    Buffer.concat([
      text('MQTT'),
      Buffer.from([version, p.clean ? 2 : 0, 0, 60]),
      ...(version === 5 ? [properties] : []),
      text(p.id),
    ]),
  )
}
/** MQTT 3.1.1. */
export const subscribePacket = (filter: string, qos: number): Buffer =>
  packet(0x82, Buffer.concat([Buffer.from([0, 1]), text(filter), Buffer.from([qos])]))
export function publishPacket(p: {
  readonly version?: Version
  readonly topic: string
  readonly qos: number
  readonly packetId: number
  readonly payload: Buffer
  readonly retain?: boolean
  readonly dup?: boolean
}): Buffer {
  const first = 0x30 | (p.dup ? 8 : 0) | (p.qos << 1) | (p.retain ? 1 : 0)
  return packet(
    first,
    Buffer.concat([
      text(p.topic),
      ...(p.qos ? [Buffer.from([p.packetId >> 8, p.packetId & 255])] : []),
      ...(p.version === 5 ? [NO_PROPERTIES] : []),
      p.payload,
    ]),
  )
}
/** PUBACK, PUBREC, PUBREL or PUBCOMP with reason 0, the same in both versions. */
export const ackPacket = (type: number, packetId: number): Buffer =>
  Buffer.from([(type << 4) | (type === TYPE.pubrel ? 2 : 0), 2, packetId >> 8, packetId & 255])

/** Calls `each` with the first byte and the body of every packet in the stream. */
export function packets(socket: net.Socket, each: (first: number, body: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    const all = rest.length ? Buffer.concat([rest, chunk]) : chunk
    let at = 0
    for (;;) {
      let length = 0,
        shift = 0,
        head = at + 1
      for (;;) {
        const b = all[head]
        if (b === undefined) {
          head = -1
          break
        }
        head++
        length |= (b & 127) << shift
        shift += 7
        if (b < 128) break
      }
      if (head < 0 || head + length > all.length) break
      each(all[at]!, all.subarray(head, head + length))
      at = head + length
    }
    rest = all.subarray(at)
  })
}
