/** WebSocket: 5.0 and 3.1.1 §6. Bytes, not packets, are compared: HTTP, and frames of RFC 6455. */
import { createHash } from 'node:crypto'
import { type Dialect, text, u16, u8 } from '../bytes.ts'
import { client, get, meet, type Row, seeEnd, send, server, type Step } from '../row.ts'
import { CONNECTED } from './bridge.ts'

const WEBSOCKET = { websocket: true } as const
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const head = (...lines: readonly string[]): string => text(`${lines.join('\r\n')}\r\n\r\n`)
const acceptOf = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
const upgrade = (...protocols: readonly string[]): string =>
  head(
    'GET /mqtt HTTP/1.1',
    'Host: edge',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${KEY}`,
    'Sec-WebSocket-Version: 13',
    ...protocols.map((name) => `Sec-WebSocket-Protocol: ${name}`),
  )
const switching = (key: string, protocol: string): string =>
  head(
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptOf(key)}`,
    `Sec-WebSocket-Protocol: ${protocol}`,
  )
const REFUSED = head('HTTP/1.1 400 Bad Request', 'Connection: close', 'Content-Length: 0')
const BINARY = 0x82
const TEXT = 0x81
const lengthOf = (bytes: number, mask: number): string => (bytes < 126 ? u8(mask | bytes) : u8(mask | 126) + u16(bytes))
/** From a client: masked with 0. */
const masked = (first: number, hex: string): string => u8(first) + lengthOf(hex.length / 2, 0x80) + '00000000' + hex
const frame = (first: number, hex: string): string => u8(first) + lengthOf(hex.length / 2, 0) + hex
const open = (): readonly Step[] => [send('a', upgrade('mqtt')), get('a', switching(KEY, 'mqtt'))]
/** As the bridge sends it, with the mask that it has drawn. */
const anyMasked = (hex: string): string => u8(BINARY) + lengthOf(hex.length / 2, 0x80) + '..'.repeat(4 + hex.length / 2)
/** The head of the bridge, with a key that it has drawn. */
const ANY_KEY = '..'.repeat(24)
const asked = (): string => {
  const [before, after] = head(
    'GET /mqtt HTTP/1.1',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: KEY',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Protocol: mqtt',
    'Host: 10.0.0.1:1883',
  ).split(text('KEY'))
  return before! + ANY_KEY + after!
}
const keyOf = (taken: string): string =>
  /Sec-WebSocket-Key: (\S+)/i.exec(Buffer.from(taken, 'hex').toString())?.[1] ?? ''
const lineOf = (v: Dialect): string => CONNECTED(v, v.either(5, 0x84))

export const WEBSOCKETS: readonly Row[] = [
  server(
    { v5: '6.0.0-1', v3: '6.0.0-1' },
    'packets come and go in binary frames',
    (v) => [...open(), send('a', masked(BINARY, v.connect('a'))), get('a', frame(BINARY, v.connack()))],
    WEBSOCKET,
  ),
  server(
    { v5: '6.0.0-1', v3: '6.0.0-1' },
    'a text frame',
    (v) => [
      ...open(),
      send('a', masked(BINARY, v.connect('a'))),
      get('a', frame(BINARY, v.connack())),
      send('a', masked(TEXT, text('hello'))),
      seeEnd('a'),
    ],
    WEBSOCKET,
  ),
  server(
    { v5: '6.0.0-2', v3: '6.0.0-2' },
    'several packets in a frame, and a packet in several frames',
    (v) => {
      const packets = v.connect('a') + v.subscribe(1, { t: 0 }) + v.publish('t', 'x')
      return [
        ...open(),
        send(
          'a',
          masked(BINARY, packets.slice(0, 6)),
          masked(BINARY, packets.slice(6, 40)),
          masked(BINARY, packets.slice(40)),
        ),
        get('a', frame(BINARY, v.connack() + v.suback(1, 0) + v.publish('t', 'x'))),
      ]
    },
    WEBSOCKET,
  ),
  server(
    { v5: '6.0.0-2', v3: '6.0.0-2' },
    'one byte in each frame',
    (v) => [
      ...open(),
      send('a', ...(v.connect('a').match(/../g) ?? []).map((byte) => masked(BINARY, byte))),
      get('a', frame(BINARY, v.connack())),
    ],
    WEBSOCKET,
  ),
  server(
    { v5: '6.0.0-3', v3: '6.0.0-3' },
    'a client that does not offer mqtt',
    () => [
      send('a', upgrade('chat')),
      get('a', REFUSED),
      seeEnd('a'),
      send('b', upgrade()),
      get('b', REFUSED),
      seeEnd('b'),
    ],
    WEBSOCKET,
  ),
  server(
    { v5: '6.0.0-4', v3: '6.0.0-4' },
    'of several the server selects mqtt',
    () => [send('a', upgrade('chat, mqtt')), get('a', switching(KEY, 'mqtt'))],
    WEBSOCKET,
  ),
  client(
    { v5: '6.0.0-1 6.0.0-3', v3: '6.0.0-1 6.0.0-3' },
    'a bridge offers mqtt, and sends binary frames',
    (v) => [
      meet('up'),
      get('up', asked()),
      send('up', (taken) => switching(keyOf(taken), 'mqtt')),
      get('up', anyMasked(lineOf(v))),
      send('up', frame(BINARY, v.connack({ props: [] }))),
      get('up', anyMasked(v.subscribe(0x7d01, { 'commands/#': 2 }))),
    ],
    { ...WEBSOCKET, bridge: { websocket: {} } },
  ),
  client(
    { v5: '6.0.0-1', v3: '6.0.0-1' },
    'and leaves a broker that sends text',
    (v) => [
      meet('up'),
      get('up', asked()),
      send('up', (taken) => switching(keyOf(taken), 'mqtt')),
      get('up', anyMasked(lineOf(v))),
      send('up', frame(TEXT, text('hello'))),
      seeEnd('up'),
    ],
    { ...WEBSOCKET, bridge: { websocket: {} } },
  ),
  client(
    { v5: '6.0.0-4', v3: '6.0.0-4' },
    'or selects another subprotocol',
    () => [meet('up'), get('up', asked()), send('up', (taken) => switching(keyOf(taken), 'chat')), seeEnd('up')],
    { ...WEBSOCKET, bridge: { websocket: {} } },
  ),
]
