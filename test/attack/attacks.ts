/** Every cheap attack: what it is called, the promise that it tries to break, and what it does for some seconds. */
import dgram from 'node:dgram'
import http2 from 'node:http2'
import tls from 'node:tls'
import { during, wait } from './attacker.ts'
import { fields, frame, HELLO, request } from './http2-frames.ts'
import { HTTP2_ATTACKS } from './http2-attacks.ts'
import { MQTT_ATTACKS } from './mqtt-attacks.ts'
import { ODD_ANSWERS } from './odd-endpoints.ts'
import { SLOW_ATTACKS } from './slow-attacks.ts'
import type { Attack } from './attack.ts'

const END_STREAM = 1
const END_HEADERS = 4
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n${more}\r\n`

export const ATTACKS: readonly Attack[] = [
  {
    name: 'http2 head that cannot be read, reset in the same packet',
    against: 'exceptions',
    run: (a, p, ms) =>
      during(ms, async () => {
        await a.say(
          p.web,
          HELLO,
          Buffer.concat([
            frame('headers', END_STREAM | END_HEADERS, 1, request('/%')),
            frame('rst', 0, 1, Buffer.alloc(4)),
          ]),
        )
        await wait(2)
      }),
  },
  {
    name: 'http2 fields that no message has',
    against: 'exceptions',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const odd = [
          [['http2-settings', 'x']],
          [['connection', 'x']],
          [['te', 'gzip']],
          [['X-Y', 'x']],
          [['x', 'a\r\nb: c']],
          [['x', 'a\0']],
          [[':path', '/']],
          [['content-length', '-1']],
          [
            ['user-agent', 'a'],
            ['user-agent', 'b'],
          ],
        ] as const
        await a.say(
          p.web,
          HELLO,
          frame('headers', END_HEADERS, 1, request('/', ...odd[n % odd.length]!)),
          frame('headers', END_STREAM | END_HEADERS, 1, fields(...odd[(n + 3) % odd.length]!)),
        )
        await wait(2)
      }),
  },
  {
    name: 'trailers that HTTP/2 does not permit, towards an HTTP/2 endpoint',
    against: 'exceptions',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const trailers = [
          'http2-settings: x',
          'user-agent: a\r\nuser-agent: b',
          ':path: /',
          'te: x',
          'connection: close',
          'host: b',
        ][n % 6]
        await a.say(
          p.web,
          `POST /odd2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n\r\n`,
        )
        await wait(5)
      }),
  },
  {
    name: `${ODD_ANSWERS.length} odd answers of endpoints, towards HTTP/1.1 and HTTP/2 clients`,
    against: 'exceptions',
    async run(a, p, ms) {
      const session = http2.connect(`http://127.0.0.1:${p.web}`)
      session.on('error', () => {})
      await during(ms, async (n) => {
        await a.say(p.web, get(n % 3 ? '/odd' : '/odd2'))
        if (!session.destroyed)
          session
            .request({ ':path': n % 2 ? '/odd' : '/odd2' })
            .on('error', () => {})
            .resume()
            .end()
        await wait(5)
      })
      session.destroy()
    },
  },
  {
    name: 'admin: GET // and other odd targets',
    against: 'exceptions',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        await a.say(
          p.admin,
          `${['GET //', 'GET http://', 'GET /%', 'OPTIONS *', 'GET ///x?a=b#c', 'CONNECT a:1', 'GET /stats?%zz'][n % 7]} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
        )
        await wait(5)
      }),
  },
  {
    name: 'garbage on every port',
    against: 'exceptions',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const bytes = Buffer.from(Array.from({ length: 64 }, (_, i) => (n * 31 + i * 17) % 256))
        for (const port of [p.web, p.proxy, p.mqtt, p.websocket, p.dns, p.hub]) {
          const socket = await a.say(port, bytes)
          if (n % 2) socket.resetAndDestroy()
          else socket.end()
        }
      }),
  },

  {
    name: 'upgrade with a body that holds another request',
    against: 'framing',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const inner = `GET /private/smuggled HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: By=spiffe://x;URI=spiffe://forged\r\n\r\n`
        const framing =
          n % 2
            ? `content-length: ${inner.length}\r\n\r\n${inner}`
            : `transfer-encoding: chunked\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`
        await a.say(
          p.web,
          `GET /up HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n${framing}`,
        )
        await wait(5)
      }),
  },
  {
    name: 'two lengths, odd chunks, and what else parsers disagree on',
    against: 'framing',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const inner = 'GET /private/smuggled HTTP/1.1\r\nhost: a\r\n\r\n'
        const odd = [
          'content-length: 4\r\ncontent-length: 40\r\n\r\n',
          'content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n',
          'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n',
          'transfer-encoding : chunked\r\n\r\n0\r\n\r\n',
          'transfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
          'content-length: +0\r\n\r\n',
          'content-length: 0x0\r\n\r\n',
          'transfer-encoding: chunked\r\n\r\n0;a\nb\r\n\r\n',
          'x: y\r\n z\r\ncontent-length: 0\r\n\r\n',
        ]
        await a.say(p.web, `POST /odd-framing HTTP/1.1\r\nhost: a\r\n${odd[n % odd.length]}${inner}`)
        await wait(5)
      }),
  },

  {
    name: 'a refused port, asked 1,100 times and more',
    against: 'counting',
    run: (a, p, ms) =>
      during(ms, async () => {
        await a.say(p.web, ...Array.from({ length: 20 }, () => get('/refused')))
        await wait(10)
      }),
  },
  {
    name: '2,000 silent connections',
    against: 'counting',
    async run(a, p, ms) {
      for (let i = 0; i < 2_000; i++) {
        await a.connect(p.web)
        if (i % 100 === 0) await wait(1)
      }
      await wait(ms / 2)
    },
  },
  {
    name: 'resets in the middle of everything',
    against: 'counting',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const socket = await a.say(p.web, get('/big').slice(0, 10 + (n % 40)))
        if (n % 3) await wait(1)
        socket.resetAndDestroy()
      }),
  },

  {
    name: 'pipelined requests whose answers nobody reads',
    against: 'memory',
    async run(a, p, ms) {
      const sockets = await Promise.all(Array.from({ length: 20 }, () => a.connect(p.web)))
      await Promise.all(
        sockets.map(async (socket) => {
          socket.pause()
          await during(ms, async () => {
            await a.write(socket, get('/big').repeat(100))
            await wait(10)
          })
        }),
      )
    },
  },
  {
    name: 'heads that never end, a byte at a time',
    against: 'memory',
    async run(a, p, ms) {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => a.say(p.web, 'GET / HTTP/1.1\r\n')))
      await during(ms, async (n) => {
        for (const socket of sockets) void a.write(socket, `x-${n}: ${'y'.repeat(200)}\r\n`)
        await wait(50)
      })
    },
  },
  {
    name: 'http2: resets, settings, pings and continuations in floods',
    against: 'memory',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        const floods = [
          Buffer.concat(
            Array.from({ length: 200 }, (_, i) =>
              Buffer.concat([
                frame('headers', END_STREAM | END_HEADERS, 2 * i + 1, request('/big')),
                frame('rst', 0, 2 * i + 1, Buffer.alloc(4)),
              ]),
            ),
          ),
          Buffer.concat(Array.from({ length: 1_000 }, () => frame('settings', 0, 0))),
          Buffer.concat(Array.from({ length: 1_000 }, () => frame('ping', 0, 0, Buffer.alloc(8)))),
          Buffer.concat([
            frame('headers', 0, 1, request('/')),
            ...Array.from({ length: 1_000 }, (_, i) =>
              frame('continuation', 0, 1, fields([`x-${i}`, 'y'.repeat(100)])),
            ),
          ]),
        ]
        await a.say(p.web, HELLO, floods[n % floods.length]!)
        await wait(20)
      }),
  },
  {
    name: 'http2: answers that nobody takes',
    against: 'memory',
    async run(a, p, ms) {
      for (let i = 0; i < 20; i++) {
        const socket = await a.connect(p.web)
        socket.pause()
        void a.write(
          socket,
          Buffer.concat([
            HELLO,
            ...Array.from({ length: 100 }, (_, s) =>
              frame('headers', END_STREAM | END_HEADERS, 2 * s + 1, request('/big')),
            ),
          ]),
        )
      }
      await wait(ms)
    },
  },
  ...MQTT_ATTACKS,
  {
    name: 'dns: names that no resolver answers',
    against: 'memory',
    async run(_a, p, ms) {
      const socket = dgram.createSocket('udp4')
      await new Promise<void>((resolve) => {
        socket.bind(0, '127.0.0.66', () => resolve())
      })
      await during(ms, async (n) => {
        for (let i = 0; i < 100; i++)
          socket.send(
            Buffer.concat([
              Buffer.from([n % 256, i, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
              Buffer.from([8]),
              Buffer.from(`n${n}-${i}xxxxxxxx`.slice(0, 8)),
              Buffer.from([3]),
              Buffer.from('com'),
              Buffer.from([0, 0, 1, 0, 1]),
            ]),
            p.dns,
            '127.0.0.1',
          )
        await wait(5)
      })
      socket.close()
    },
  },
  {
    name: 'hub: 500 TLS strangers, and garbage after the handshake',
    against: 'memory',
    async run(a, p, ms) {
      for (let i = 0; i < 500; i++) {
        const raw = await a.connect(p.hub)
        if (i % 2)
          tls
            .connect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
            .on('error', () => {})
            .on('secureConnect', function (this: tls.TLSSocket) {
              if (i % 4 === 1) this.write('garbage that is no preface\r\n\r\n')
            })
      }
      await wait(ms)
    },
  },

  ...SLOW_ATTACKS,
  ...HTTP2_ATTACKS,

  {
    name: 'a WebSocket from a web page of another host',
    against: 'authority',
    run: (a, p, ms) =>
      during(ms, async () => {
        const socket = await a.connect(p.websocket)
        const answer = new Promise<string>((resolve) => {
          socket.once('data', (d: Buffer) => resolve(d.toString()))
          socket.once('close', () => resolve(''))
        })
        await a.write(
          socket,
          `GET /mqtt HTTP/1.1\r\nhost: 127.0.0.1:${p.websocket}\r\norigin: https://evil.example\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: mqtt\r\n\r\n`,
        )
        if ((await answer).startsWith('HTTP/1.1 101')) throw new Error('the WebSocket was opened')
        socket.destroy()
        await wait(20)
      }),
  },
  {
    name: 'a web page that stops the agent through its admin port',
    against: 'authority',
    run: (_a, p, ms) =>
      during(ms, async (n) => {
        const headers = [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }, { origin: 'null' }][
          n % 3
        ]!
        const { status } = await fetch(`http://127.0.0.1:${p.admin}/drain`, {
          method: 'POST',
          headers: headers as Record<string, string>,
        })
        if (status !== 403) throw new Error(`POST /drain was answered with ${status}`)
        await wait(50)
      }),
  },
  {
    name: 'a path that nobody may ask for, in every spelling',
    against: 'authority',
    run: (a, p, ms) =>
      during(ms, async (n) => {
        await a.say(
          p.web,
          get(
            [
              '/private',
              '/./private',
              '/x/../private',
              '/%70rivate',
              '//private',
              '/private%2f',
              '/PRIVATE/../private',
              'http://a/private',
              '/x/..%2fprivate',
            ][n % 9]!,
          ),
        )
        await wait(5)
      }),
  },
]
