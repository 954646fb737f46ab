/**
 * What a peer can do to the broker with little of its own: each attack sends so many bytes over sockets on loopback and
 * says how many they were. Raw sockets and packets made beforehand, so that the attacker costs little and reads only
 * where it must.
 */
import net from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { encode, publishPacket } from '../../../protocols/mqtt/codec/encode.ts'
import type { Packet } from '../../../protocols/mqtt/codec/packet.ts'
import { connectPacket } from '../../helpers/mqtt/peer.ts'

const NO_BYTES = Buffer.alloc(0)
const MIB = 1024 * 1024
const bytesOf = (packet: Packet): Buffer => encode(packet, 5)

/** One connection of the attacker; `sent` counts for all of them together. */
export class Attacker implements Disposable {
  readonly #port: number
  readonly #sockets = new Set<net.Socket>()
  sent = 0

  constructor(port: number) {
    this.#port = port
  }

  async open(p: { reads?: boolean } = {}): Promise<net.Socket> {
    const socket = net.connect(this.#port, '127.0.0.1')
    socket.on('error', () => {
      /* it is cut off: that is the point */
    })
    await Promise.race([once(socket, 'connect'), once(socket, 'close')])
    socket.setMaxListeners(0)
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (p.reads !== false) socket.resume()
    return socket
  }
  /**
   * Waits for the socket when it takes no more; gives up after a second of that.
   * @returns false when the connection is over or stuck
   */
  async send(socket: net.Socket, bytes: Buffer): Promise<boolean> {
    if (socket.destroyed) return false
    this.sent += bytes.length
    if (socket.write(bytes)) return true
    await Promise.race([once(socket, 'drain'), once(socket, 'close'), sleep(1_000)]).catch(() => undefined)
    return !socket.destroyed && !socket.writableNeedDrain
  }
  async connected(clientId: string, p: { kept?: boolean; reads?: boolean } = {}): Promise<net.Socket> {
    const socket = await this.open({ reads: true })
    await this.send(
      socket,
      bytesOf(
        connectPacket({ cleanStart: !p.kept, clientId, properties: p.kept ? { sessionExpirySec: 604_800 } : {} }),
      ),
    )
    await Promise.race([once(socket, 'data'), once(socket, 'close'), sleep(2_000)])
    if (p.reads === false) socket.pause()
    return socket
  }
  async subscribed(
    clientId: string,
    filter: string,
    p: { kept?: boolean; reads?: boolean; qos?: 0 | 1 } = {},
  ): Promise<net.Socket> {
    const socket = await this.connected(clientId, { ...p, reads: true })
    await this.send(socket, subscribe(filter, p.qos ?? 0))
    await Promise.race([once(socket, 'data'), once(socket, 'close'), sleep(2_000)])
    if (p.reads === false) socket.pause()
    return socket
  }
  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

function subscribe(filter: string, qos: 0 | 1 | 2, id?: number): Buffer {
  return bytesOf({
    type: 'subscribe',
    packetId: 1,
    properties: id === undefined ? {} : { subscriptionIds: [id] },
    subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  })
}
const unsubscribe = (filter: string): Buffer =>
  bytesOf({ type: 'unsubscribe', packetId: 1, properties: {}, filters: [filter] })
function publish(
  topic: string,
  payload: Buffer,
  p: { qos?: 0 | 1 | 2; packetId?: number; retain?: boolean } = {},
): Buffer {
  return bytesOf(publishPacket({ topic, payload, ...p }))
}

/** Until so many bytes are sent or the time is over. */
async function pour(
  a: Attacker,
  socket: net.Socket,
  bytes: number,
  untilMs: number,
  next: (i: number) => Buffer,
): Promise<void> {
  for (let i = 0; a.sent < bytes && performance.now() < untilMs; i++) if (!(await a.send(socket, next(i)))) return
}

export type Attack = {
  readonly about: string
  /** So many connections, or sessions, of a few bytes: what each costs is not a matter of its bytes. */
  readonly connections?: number
  run(a: Attacker, untilMs: number): Promise<void>
}

async function idleSubscribers(a: Attacker, untilMs: number, qos: 0 | 1, kept: boolean): Promise<void> {
  for (let i = 0; i < 15; i++) await a.subscribed(`idle${i}`, 'flood/#', { qos, kept, reads: false })
  const pub = await a.connected('flood')
  const payload = Buffer.alloc(64 * 1024, 'x')
  await pour(a, pub, 50 * MIB, untilMs, (i) => {
    // No two are alike: what is equal goes to the disk once.
    payload.writeUInt32BE(i)
    return publish('flood/a', payload, qos === 0 ? {} : { qos, packetId: (i % 60_000) + 1 })
  })
}

/** No topic comes twice. */
function publishAnew(i: number): Buffer {
  return Buffer.concat(
    Array.from({ length: 100 }, (_, j) => publish(`x/x/x/x/x/x/x/x/x/x/${i * 100 + j}`, Buffer.alloc(40))),
  )
}

/** Ten levels, and `+` in place of each of them in every combination. */
async function overlapping(
  a: Attacker,
  p: { readonly behind?: string; readonly clientId?: string } = {},
): Promise<net.Socket> {
  const socket = await a.connected(p.clientId ?? 'overlapping')
  const filter = (i: number): string =>
    Array.from({ length: 10 }, (_, bit) => ((i >> bit) & 1 ? '+' : 'x')).join('/') + (p.behind ?? '')
  for (let i = 0; i < 1_000; i++) await a.send(socket, subscribe(filter(i), 0))
  return socket
}

/** In turn, each time with another QoS than before. */
async function pourSubscriptions(a: Attacker, filters: number, untilMs: number): Promise<void> {
  const socket = await a.connected('subscriber', { kept: true })
  const nth = (i: number): Buffer => subscribe(`some/where/${i % filters}`, (Math.floor(i / filters) % 3) as 0 | 1 | 2)
  await pour(a, socket, 6 * MIB, untilMs, (i) => Buffer.concat(Array.from({ length: 200 }, (_, j) => nth(i * 200 + j))))
}

/** A megabyte of what the attacks are made of. */
export async function warmUp(a: Attacker): Promise<void> {
  const socket = await a.subscribed('warm', 'warm/#')
  await pour(a, socket, MIB / 2, performance.now() + 2_000, () => publish('warm/a', Buffer.alloc(64)))
  await pour(a, socket, MIB, performance.now() + 2_000, (i) => subscribe(`warm/${i % 100}`, 0))
}

export const MQTT_ATTACKS: Readonly<Record<string, Attack>> = {
  'idle-subscribers': {
    about: '15 subscribers that do not read, 50 MB of QoS 0',
    run: (a, untilMs) => idleSubscribers(a, untilMs, 0, false),
  },
  'idle-subscribers-qos1': {
    about: 'the same with QoS 1 and sessions that end with their connection',
    run: (a, untilMs) => idleSubscribers(a, untilMs, 1, false),
  },
  'idle-kept': {
    about: 'the same with QoS 1 and kept sessions, up to what the spool may hold',
    run: (a, untilMs) => idleSubscribers(a, untilMs, 1, true),
  },
  'half-connects': {
    about: '100 halves of a CONNECT of 900 kB',
    async run(a) {
      const head = Buffer.concat([
        Buffer.from([0x10, 0xa0, 0xf7, 0x36]),
        Buffer.from('00044d51545405c2003c00', 'hex'),
        Buffer.alloc(899_000),
      ])
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          await a.send(await a.open(), head)
        }),
      )
    },
  },
  'half-small-connects': {
    about: '400 halves of a CONNECT of 60 kB',
    async run(a) {
      const head = Buffer.concat([
        Buffer.from([0x10, 0xe0, 0xd4, 0x03]),
        Buffer.from('00044d51545405c2003c00', 'hex'),
        Buffer.alloc(50_000),
      ])
      for (let i = 0; i < 400; i++) await a.send(await a.open(), head)
    },
  },
  'half-packets': {
    about: '60 connections with 900 kB of a PUBLISH of a megabyte',
    async run(a) {
      const head = Buffer.concat([Buffer.from([0x30, 0xf0, 0xff, 0x3f]), Buffer.alloc(900_000)])
      for (let i = 0; i < 60; i++) await a.send(await a.connected(`half${i}`), head)
    },
  },
  silent: {
    about: '1,500 connections that say nothing',
    connections: 1_500,
    async run(a) {
      for (let i = 0; i < 1_500; i++) await a.send(await a.open(), Buffer.from([0x10]))
    },
  },
  subscribe: {
    about: '6 MB of SUBSCRIBE of a kept session, 1,000 filters again and again, each time with another QoS',
    run: (a, untilMs) => pourSubscriptions(a, 1_000, untilMs),
  },
  'subscribe-10k': {
    about: 'subscribe, with 10,000 filters, as many as a session may have',
    run: (a, untilMs) => pourSubscriptions(a, 10_000, untilMs),
  },
  sessions: {
    about: '300 CONNECTs whose sessions are kept for seven days',
    connections: 300,
    async run(a) {
      for (let i = 0; i < 300; i++) (await a.connected(`kept${i}`, { kept: true })).destroy()
    },
  },
  retained: {
    about: '6 MB of retained messages of 100 bytes, each to a topic of its own, in one go',
    async run(a, untilMs) {
      const socket = await a.connected('retainer')
      await pour(a, socket, 6 * MIB, untilMs, (i) =>
        Buffer.concat(
          Array.from({ length: 100 }, (_, j) => publish(`kept/${i * 100 + j}`, Buffer.alloc(100), { retain: true })),
        ),
      )
    },
  },
  overlapping: {
    about: '1,000 filters of one session that all match, and 6 MB of messages',
    async run(a, untilMs) {
      const socket = await overlapping(a)
      await pour(a, socket, a.sent + 6 * MIB, untilMs, () =>
        Buffer.concat(Array.from({ length: 100 }, () => publish('x/x/x/x/x/x/x/x/x/x', NO_BYTES))),
      )
    },
  },
  'overlapping-anew': {
    about: 'the same, and one filter changes its QoS between the messages, so that nothing can be remembered',
    async run(a, untilMs) {
      const socket = await overlapping(a)
      const again = Buffer.concat(
        Array.from({ length: 50 }, (_, i) => [
          publish('x/x/x/x/x/x/x/x/x/x', Buffer.alloc(40)),
          subscribe('x/x/x/x/x/+/x/x/x/x', i % 2 === 0 ? 0 : 1),
        ]).flat(),
      )
      await pour(a, socket, a.sent + 6 * MIB, untilMs, () => again)
    },
  },
  'overlapping-topics': {
    about: 'the same, and no topic comes twice',
    async run(a, untilMs) {
      const socket = await overlapping(a, { behind: '/#' })
      await pour(a, socket, a.sent + 6 * MIB, untilMs, publishAnew)
    },
  },
  'overlapping-come-and-go': {
    about: 'the same, and one filter comes and goes between the messages',
    async run(a, untilMs) {
      const socket = await overlapping(a, { behind: '/#' })
      await pour(a, socket, a.sent + 6 * MIB, untilMs, (i) =>
        Buffer.concat(
          Array.from({ length: 50 }, (_, j) => [
            publish(`x/x/x/x/x/x/x/x/x/x/${i * 50 + j}`, Buffer.alloc(40)),
            j % 2 === 0 ? unsubscribe('x/x/x/x/x/+/x/x/x/x/#') : subscribe('x/x/x/x/x/+/x/x/x/x/#', 1),
          ]).flat(),
        ),
      )
    },
  },
  'overlapping-sessions': {
    about: 'the same filters of four sessions, and no topic comes twice',
    async run(a, untilMs) {
      for (let i = 0; i < 3; i++) await overlapping(a, { behind: '/#', clientId: `overlapping${i}` })
      const socket = await overlapping(a, { behind: '/#' })
      await pour(a, socket, a.sent + 6 * MIB, untilMs, publishAnew)
    },
  },
  'filter-comes-and-goes': {
    about: '10,000 filters of ten sessions, and 4 MB of SUBSCRIBE and UNSUBSCRIBE of one more',
    async run(a, untilMs) {
      for (let i = 0; i < 10; i++) {
        const socket = await a.connected(`many${i}`)
        await a.send(socket, Buffer.concat(Array.from({ length: 1_000 }, (_, j) => subscribe(`${i}/${j}/+`, 0))))
      }
      const both = Buffer.concat(Array.from({ length: 200 }, () => [subscribe('a/+', 0), unsubscribe('a/+')]).flat())
      await pour(a, await a.connected('one'), a.sent + 4 * MIB, untilMs, () => both)
    },
  },
  'small-messages': {
    about: '6 MB of QoS 0 without payload to a topic that nobody has',
    async run(a, untilMs) {
      const many = Buffer.concat(Array.from({ length: 2_000 }, () => publish('a', NO_BYTES)))
      await pour(a, await a.connected('small'), 6 * MIB, untilMs, () => many)
    },
  },
  'durable-messages': {
    about: '4 MB of QoS 1 of 40 bytes for a kept session that is away',
    async run(a, untilMs) {
      ;(await a.subscribed('away', 'durable', { qos: 1, kept: true })).destroy()
      const socket = await a.connected('durable')
      await pour(a, socket, 4 * MIB, untilMs, (i) =>
        Buffer.concat(
          Array.from({ length: 100 }, (_, j) =>
            publish('durable', Buffer.alloc(40), { qos: 1, packetId: ((i * 100 + j) % 60_000) + 1 }),
          ),
        ),
      )
    },
  },
  pings: {
    about: '2 MB of PINGREQ whose answers are not read',
    async run(a, untilMs) {
      const many = Buffer.alloc(64 * 1024, Buffer.from([0xc0, 0]))
      await pour(a, await a.connected('pings', { reads: false }), 2 * MIB, untilMs, () => many)
    },
  },
}
