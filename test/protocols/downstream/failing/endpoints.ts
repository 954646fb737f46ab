/** Endpoints that do, over HTTP/1.1 and HTTP/2, whatever an endpoint may do wrong. */
import type { Duplex } from 'node:stream'
import type { Cluster } from '../../../../model/cluster.ts'
import { DATA, frame, GOAWAY, HEADERS, headers, RST_STREAM, setting, SETTINGS, word } from '../../../helpers/raw-h2.ts'
import { endpoint, OK, ORIGIN } from '../../http/harness.ts'
import { byName } from '../../parts.ts'
import { MUTUAL } from '../../mutual-tls.ts'
import type { SimNetwork } from '../../../helpers/sim-network.ts'

const later = (fn: () => void): void => {
  setImmediate(fn)
}
/** What becomes of connections to the endpoint. */
export const ENDPOINTS: Readonly<
  Record<
    string,
    {
      cluster?: Partial<Cluster>
      refuses?: true
      hangs?: true
      resolve?: () => Promise<readonly string[]>
      serve?(stream: Duplex): void
    }
  >
> = {
  refuses: { refuses: true },
  'does not accept': { hangs: true },
  'is silent': {
    serve: (s) => {
      s.resume()
    },
  },
  'does not read': {},
  'resets at once': {
    serve: (s) => {
      s.destroy()
    },
  },
  'ends at once': {
    serve: (s) => {
      s.end()
    },
  },
  'resets what it was asked': {
    serve: (s) => {
      s.once('data', () => {
        s.destroy()
      })
    },
  },
  'answers garbage': {
    serve: (s) => {
      s.on('data', () => {
        s.write('garbage\r\n\r\n')
      })
    },
  },
  'answers half and resets': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')
        later(() => {
          s.destroy()
        })
      })
    },
  },
  'answers half and is silent': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')
      })
    },
  },
  'answers before it was asked': {
    serve: (s) => {
      s.resume().write(OK)
    },
  },
  'answers twice': {
    serve: (s) => {
      s.on('data', () => {
        s.write(OK + OK)
      })
    },
  },
  'answers 503': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n')
      })
    },
  },
  answers: {
    serve: (s) => {
      s.on('data', () => {
        s.write(OK)
      })
    },
  },
  'switches protocols': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello')
      })
    },
  },
  'speaks no TLS': {
    cluster: { transport: { kind: 'tls', tls: { ...MUTUAL, sni: '', autoSni: false } } },
    serve: (s) => {
      s.resume().write('HTTP/1.1 400 Bad Request\r\n\r\n')
    },
  },
  'is silent in the TLS handshake': {
    cluster: { transport: { kind: 'tls', tls: { ...MUTUAL, sni: '', autoSni: false } } },
    serve: (s) => {
      s.resume()
    },
  },
  'speaks HTTP/1 where HTTP/2 is spoken': {
    cluster: { protocol: 'http2' },
    serve: (s) => {
      s.on('data', () => {
        s.write(OK)
      })
    },
  },
  'has no name': { cluster: named(), resolve: () => Promise.reject(new Error('ENOTFOUND')) },
  'has a name that nobody answers for': { cluster: named(), resolve: () => new Promise(() => {}) },
}
/** Of an endpoint that speaks HTTP/2. @param answer to each head */
function h2(
  answer: (stream: number, s: Duplex) => readonly Buffer[],
  first = frame(SETTINGS, 0, 0, Buffer.alloc(0)),
): { cluster: Partial<Cluster>; serve(stream: Duplex): void } {
  return {
    cluster: { protocol: 'http2' },
    serve: (s) => {
      let rest = Buffer.alloc(0)
      let skip = 24
      s.write(first)
      s.on('data', (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk])
        if (rest.length < skip) return
        rest = rest.subarray(skip)
        skip = 0
        for (
          let size: number;
          rest.length >= 9 && rest.length >= (size = 9 + rest.readUIntBE(0, 3));
          rest = rest.subarray(size)
        ) {
          if (rest[3] === SETTINGS && rest[4] === 0) s.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)))
          if (rest[3] === HEADERS) {
            const bytes = Buffer.concat(answer(rest.readUInt32BE(5), s))
            if (bytes.length > 0) s.write(bytes)
          }
        }
      })
    },
  }
}
const ok = (stream: number, end = true): Buffer => headers(stream, [[':status', '200']], end)
/** The same over HTTP/2, and what only HTTP/2 has. */
export const H2_ENDPOINTS: typeof ENDPOINTS = {
  'does not read HTTP/2': { cluster: { protocol: 'http2' } },
  'is silent over HTTP/2': h2(() => []),
  'takes no streams': h2(() => [], setting(3, 0)),
  'gives no window': h2(() => [], setting(4, 0)),
  'refuses each stream': h2((stream) => [frame(RST_STREAM, 0, stream, word(7))]),
  'refuses each stream after 103': h2((stream) => [
    headers(stream, [[':status', '103']], false),
    frame(RST_STREAM, 0, stream, word(7)),
  ]),
  'says GOAWAY and works on nothing': h2(() => [frame(GOAWAY, 0, 0, Buffer.alloc(8))]),
  'says GOAWAY in the middle of its answer and ends': h2((stream, s) => {
    later(() => {
      s.end()
    })
    return [ok(stream, false), frame(GOAWAY, 0, 0, Buffer.concat([word(stream), word(0)]))]
  }),
  'says GOAWAY and is silent': h2((stream) => [frame(GOAWAY, 0, 0, Buffer.concat([word(stream), word(0)]))]),
  'resets in the middle of its answer': h2((stream) => [
    ok(stream, false),
    frame(DATA, 0, stream, Buffer.from('hi')),
    frame(RST_STREAM, 0, stream, word(2)),
  ]),
  'answers before the end of the request': h2((stream) => [ok(stream), frame(RST_STREAM, 0, stream, word(0))]),
  'answers what is malformed': h2((stream) => [
    headers(
      stream,
      [
        [':status', '200'],
        ['connection', 'x'],
      ],
      true,
    ),
  ]),
  'answers without an end': h2((stream) => [ok(stream, false)]),
  'breaks the connection': h2(() => [frame(DATA, 0, 99, Buffer.from('x'))]),
  'sends SETTINGS only to make work': h2(() => Array.from({ length: 300 }, () => setting(3, 100))),
  'answers over HTTP/2': h2((stream) => [ok(stream)]),
}
function named(): Partial<Cluster> {
  return { discovery: byName([endpoint('origin.test', ORIGIN.port)], { refreshMs: 300_000 }) }
}

/** From now on it is so at that place. */
export async function startEndpoint(
  network: SimNetwork,
  place: typeof ORIGIN,
  { serve, refuses, hangs }: (typeof ENDPOINTS)[string],
): Promise<void> {
  await network.listen(place, ({ stream }) => {
    stream.on('error', () => {})
    serve?.(stream)
  })
  if (refuses) network.refuse(place)
  if (hangs) network.blackhole(place)
}
