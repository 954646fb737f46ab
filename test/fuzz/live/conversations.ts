/**
 * Conversations by chance with every port of an agent and a hub. Each ends by itself, and says which marks it received.
 */
import dgram from 'node:dgram'
import net from 'node:net'
import tls from 'node:tls'
import { KEPT, mqttConnect, mqttPublish, mqttSubscribe } from '../../attack/attacker.ts'
import type { Ports } from '../../attack/subject.ts'
import { requests } from './http1.ts'
import { client } from './http2.ts'
import { mark, marksIn, type Dice } from './words.ts'

export type Kind =
  | 'http1'
  | 'http2'
  | 'filters1'
  | 'filters2'
  | 'proxy'
  | 'mqtt'
  | 'websocket'
  | 'dns'
  | 'admin'
  | 'hub'
export const KINDS: readonly Kind[] = [
  'http1',
  'http1',
  'http1',
  'http2',
  'http2',
  'http2',
  'filters1',
  'filters1',
  'filters2',
  'filters2',
  'proxy',
  'mqtt',
  'mqtt',
  'websocket',
  'dns',
  'admin',
  'hub',
]
const ROUTES = ['/odd', '/odd2', '/refused', '/ok']
const PATIENCE_MS = 300

/** @returns marks in what came back */
export async function converse(kind: Kind, dice: Dice, id: number, ports: Ports): Promise<Set<number>> {
  switch (kind) {
    case 'http1':
      return overTcp(dice, ports.web, requests(dice, id, ROUTES))
    case 'http2':
      return overTcp(dice, ports.web, client(dice, id, ROUTES))
    case 'filters1':
      return overTcp(dice, ports.filtered, requests(dice, id, ROUTES))
    case 'filters2':
      return overTcp(dice, ports.filtered, client(dice, id, ROUTES))
    case 'proxy':
      return overTcp(
        dice,
        ports.proxy,
        dice.hits(0.5)
          ? requests(dice, id, ['http://a', 'http://a:80/x'])
          : Buffer.from(
              `CONNECT ${dice.one(['a:80', 'a', ':1', '[::1]:1', 'a:99999'])} HTTP/1.1\r\nhost: a\r\n\r\n${mark(id)}`,
            ),
      )
    case 'mqtt':
      return overTcp(dice, ports.mqtt, mqttBytes(dice, id))
    case 'websocket':
      return overTcp(dice, ports.websocket, websocketBytes(dice, id))
    case 'dns':
      await overUdp(dice, ports.dns)
      return new Set()
    case 'admin':
      return overTcp(
        dice,
        ports.admin,
        requests(dice, id, ['/stats', '/status', '/clusters', '//', '/config_dump', '/logging', '/']),
      )
    case 'hub':
      return overTls(
        dice,
        ports.hub,
        dice.hits(0.5)
          ? client(dice, id, [
              '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
              '/istio.v1.auth.IstioCertificateService/CreateCertificate',
            ])
          : dice.bytes(200),
      )
    default:
      return kind satisfies never
  }
}

function mqttBytes(dice: Dice, id: number): Buffer {
  const clientId = dice.one(['f1', 'f2', 'f3', `f-${id % 40}`, ''])
  const parts = [mqttConnect(clientId, { ...(dice.hits(0.5) ? KEPT : {}), version: dice.one([4, 5] as const) })]
  parts.push(
    ...dice.times(6, () => {
      switch (dice.upTo(5)) {
        case 0:
          return mqttSubscribe(
            1 + dice.upTo(5),
            dice.times(3, () => dice.one([`t/${id % 9}`, '#', '+/x', '$share/g/t/#', 't/#', 'a#', ''])).concat('t'),
          )
        case 1:
          return mqttPublish(dice.one(['t', `t/${id % 9}`, 'a/b', '$SYS/x']), Buffer.from(`shared ${id % 9}`), {
            retain: dice.hits(0.2),
          })
        case 2:
          return mqttPublish('t', Buffer.from('q'), { qos: dice.one([1, 2] as const), packetId: 1 + dice.upTo(3) })
        case 3:
          return Buffer.from([dice.one([0x40, 0x50, 0x62, 0x70, 0xc0, 0xe0, 0xa2, 0xf0]), 2, 0, dice.upTo(5)])
        default:
          return dice.bytes(30)
      }
    }),
  )
  const bytes = Buffer.concat(parts)
  if (dice.hits(0.3)) bytes[dice.upTo(bytes.length)] = dice.upTo(256)
  return bytes
}

function websocketBytes(dice: Dice, id: number): Buffer {
  const head = `GET /mqtt HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: ${dice.one(['13', '13', '8', 'x'])}\r\nsec-websocket-protocol: ${dice.one(['mqtt', 'mqtt', 'x', ''])}\r\n\r\n`
  const payload = mqttBytes(dice, id).subarray(0, 120)
  const masked = Buffer.concat([
    Buffer.from([
      dice.one([0x82, 0x82, 0x81, 0x02, 0x88, 0x89, 0xf2]),
      dice.hits(0.95) ? 0x80 | payload.length : payload.length,
    ]),
    Buffer.alloc(4),
    payload,
  ])
  return Buffer.concat([Buffer.from(head), ...dice.times(3, () => masked)])
}

/** Written whole, in pieces or by the byte; then waited for, left open a moment, closed, half-closed or reset. */
async function overTcp(dice: Dice, port: number, bytes: Buffer): Promise<Set<number>> {
  const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
  return talk(dice, socket, socket, bytes)
}
async function overTls(dice: Dice, port: number, bytes: Buffer): Promise<Set<number>> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true })
  if (dice.hits(0.2)) return talk(dice, socket, socket, bytes)
  const secure = tls.connect({
    socket,
    rejectUnauthorized: false,
    ALPNProtocols: dice.one([['h2'], ['h2'], ['http/1.1'], []]),
  })
  return talk(dice, secure, socket, bytes)
}

async function talk(dice: Dice, stream: net.Socket, socket: net.Socket, bytes: Buffer): Promise<Set<number>> {
  let received = ''
  stream.on('data', (chunk: Buffer) => {
    received = (received + chunk.toString('latin1')).slice(-100_000)
  })
  for (const one of [stream, socket]) one.on('error', () => {})
  const closed = new Promise((resolve) => {
    stream.once('close', resolve)
  })
  for (let at = 0; at < bytes.length && !stream.destroyed;) {
    const size = dice.hits(0.6) ? bytes.length : 1 + dice.upTo(40)
    stream.write(bytes.subarray(at, at + size))
    at += size
    if (at < bytes.length) await wait(dice.upTo(2))
  }
  switch (dice.upTo(5)) {
    case 0:
      socket.resetAndDestroy()
      break
    case 1:
      stream.end()
      break
    case 2:
      stream.pause()
      break
    default:
  }
  await Promise.race([closed, wait(dice.upTo(PATIENCE_MS))])
  stream.destroy()
  socket.destroy()
  return marksIn(received)
}

async function overUdp(dice: Dice, port: number): Promise<void> {
  const socket = dgram.createSocket('udp4')
  socket.on('error', () => {})
  const name = dice.times(3, () => {
    const label = dice.text(10)
    return Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')])
  })
  const query = Buffer.concat([
    Buffer.from([
      0,
      dice.upTo(256),
      dice.one([1, 1, 0x81, 0x29]),
      0,
      0,
      dice.one([1, 1, 2, 0]),
      0,
      0,
      0,
      0,
      0,
      dice.upTo(2),
    ]),
    ...name,
    Buffer.from([0, 0, dice.one([1, 28, 33, 255, 12]), 0, 1]),
    dice.hits(0.3) ? dice.bytes(30) : Buffer.alloc(0),
  ])
  await new Promise<void>((resolve) => {
    socket.send(query, port, '127.0.0.1', () => resolve())
  })
  await wait(dice.upTo(20))
  socket.close()
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
