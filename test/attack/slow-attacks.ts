/**
 * Attacks by being slow, or by much of what is small: uploads, trailers, answers that go on for ever, frames of
 * WebSocket, connections of MQTT and DNS.
 */
import { during, mqttConnect, wait, type Attacker } from './attacker.ts'
import type { Attack } from './attack.ts'
import { fields, frame, HELLO } from './http2-frames.ts'

const [END_HEADERS, END_STREAM] = [4, 1]
const PIECE = Buffer.alloc(16_000, 'u')
const upload = (path: string): Buffer =>
  fields([':method', 'POST'], [':scheme', 'http'], [':authority', 'a'], [':path', path])
const connections = (n: number, open: (i: number) => Promise<unknown>): Promise<unknown> =>
  Promise.all(Array.from({ length: n }, (_, i) => open(i)))
/** A client's frame, masked with zeros (RFC 6455 §5.3). */
const webSocketFrame = (opcode: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload])
async function webSocket(a: Attacker, port: number): Promise<Awaited<ReturnType<Attacker['say']>>> {
  const socket = await a.say(
    port,
    `GET /mqtt HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: mqtt\r\n\r\n`,
  )
  await wait(50)
  return socket
}

export const SLOW_ATTACKS: readonly Attack[] = [
  {
    name: 'request bodies that come a byte at a time',
    against: 'memory',
    async run(a, p, ms) {
      const sockets = await Promise.all(
        Array.from({ length: 500 }, (_, i) =>
          a.say(p.web, `POST /drip/${i} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n${'x'.repeat(60_000)}`),
        ),
      )
      await during(ms, async () => {
        for (const socket of sockets) void a.write(socket, 'x')
        await wait(50)
      })
    },
  },
  {
    name: 'uploads that their endpoint does not read, over HTTP/1.1',
    against: 'memory',
    run: (a, p, ms) =>
      connections(100, async () => {
        const socket = await a.say(p.web, 'POST /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n')
        await during(ms, async (n) => {
          await a.write(socket, PIECE)
          if (n > 100 || socket.destroyed) await wait(50)
        })
      }).then(() => {}),
  },
  {
    name: 'uploads that their endpoint does not read, over http2',
    against: 'memory',
    async run(a, p, ms) {
      for (let i = 0; i < 20; i++) {
        const streams = Array.from({ length: 50 }, (_, s) =>
          Buffer.concat([
            frame('headers', END_HEADERS, 2 * s + 1, upload('/sink')),
            frame('data', 0, 2 * s + 1, PIECE),
          ]),
        )
        void a.say(p.web, HELLO, ...streams)
      }
      await wait(ms)
    },
  },
  {
    name: 'trailers of the largest kind, over both',
    against: 'memory',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const trailers = Array.from({ length: 90 }, (_, i) => [`x-${i}`, 'y'.repeat(n % 2 ? 120 : 6_000)] as const)
        await a.say(
          p.web,
          `POST /t HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
        )
        await a.say(
          p.web,
          HELLO,
          frame('headers', END_HEADERS, 1, upload('/t')),
          frame(
            'headers',
            END_HEADERS | END_STREAM,
            1,
            fields(...trailers.map(([name]) => [name, 'y'.repeat(120)] as const)),
          ),
        )
        await wait(10)
      }),
  },
  {
    name: 'an endpoint that sends 103 for ever, to clients that do not read',
    against: 'memory',
    async run(a, p, ms) {
      await connections(50, async () => {
        const socket = await a.connect(p.web)
        socket.pause()
        void a.write(socket, 'GET /informational HTTP/1.1\r\nhost: a\r\n\r\n')
      })
      const socket = await a.connect(p.web)
      socket.pause()
      void a.write(
        socket,
        Buffer.concat([
          HELLO,
          ...Array.from({ length: 50 }, (_, s) =>
            frame(
              'headers',
              END_HEADERS | END_STREAM,
              2 * s + 1,
              fields([':method', 'GET'], [':scheme', 'http'], [':authority', 'a'], [':path', '/informational']),
            ),
          ),
        ]),
      )
      await wait(ms)
    },
  },
  {
    name: 'websocket: pings in a flood, whose pongs nobody reads',
    against: 'memory',
    async run(a, p, ms) {
      const pings = Buffer.concat(Array.from({ length: 500 }, () => webSocketFrame(9, PIECE.subarray(0, 125))))
      await connections(10, async () => {
        const socket = await webSocket(a, p.websocket)
        socket.pause()
        await during(ms, async () => {
          await a.write(socket, pings)
          await wait(10)
        })
      })
    },
  },
  {
    name: 'websocket: messages in a thousand fragments that do not end',
    against: 'memory',
    async run(a, p, ms) {
      const fragments = Buffer.concat(
        Array.from({ length: 1_000 }, () => {
          const one = webSocketFrame(0, PIECE.subarray(0, 100))
          one[0] = 0
          return one
        }),
      )
      const first = webSocketFrame(2, PIECE.subarray(0, 100))
      first[0] = 2
      await connections(20, async () => {
        const socket = await webSocket(a, p.websocket)
        await a.write(socket, first)
        await during(ms, async () => {
          await a.write(socket, fragments)
          await wait(20)
        })
      })
    },
  },
  {
    name: 'mqtt: 2,000 small connections',
    against: 'counting',
    async run(a, p, ms) {
      for (let i = 0; i < 2_000; i++) {
        await a.say(p.mqtt, mqttConnect(`small-${i}`))
        if (i % 50 === 0) await wait(5)
      }
      await wait(ms / 2)
    },
  },
  {
    name: 'dns: TCP connections that promise a question and do not ask it',
    against: 'counting',
    run: (a, p, ms) =>
      during(ms, async () => {
        await a.say(p.dns, Buffer.concat([Buffer.from([0xff, 0xff]), PIECE.subarray(0, 5_000)]))
        await wait(2)
      }),
  },
]
