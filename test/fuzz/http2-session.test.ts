/**
 * Whole conversations by chance with a session of our own on either side: frames that are right, frames that are wrong,
 * bytes changed, cut anywhere, with owners who pause, answer, reset and forget. Never a defect; every stream is told of
 * its end once, and of nothing after it; what is held stays within its bounds.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listenForDefects } from '../../core/defects/guard.ts'
import type { Http2Stream, StreamOwner } from '../../protocols/http/h2/stream/stream.ts'
import { frame, headers, type Fields } from '../helpers/raw-h2.ts'
import { seededRandom } from '../helpers/random.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'
import { GET, OK, OPTIONS, POST, rig, u32, type Rig } from '../protocols/http/h2/rig.ts'

const SEEDS = 300
const STEPS = 60
const MAX_STREAMS = 8
const CONNECTION_WINDOW = 100_000
const HIGH_WATER_MARK = 16_384
/** What is gathered in a turn, frames of one turn over that, and answers that nobody reads. */
const MAX_UNSENT = HIGH_WATER_MARK + (128 + 64 + 64 + 64) * 1024

type Chance = {
  readonly of: <T>(all: readonly T[]) => T
  readonly upTo: (n: number) => number
  readonly oneIn: (n: number) => boolean
}
function chance(seed: number): Chance {
  const random = seededRandom(seed)
  const upTo = (n: number): number => Math.floor(random.float() * (n + 1))
  return { upTo, of: (all) => all[upTo(all.length - 1)]!, oneIn: (n) => upTo(n - 1) === 0 }
}

const ODD_FIELDS: readonly Fields[] = [
  [],
  [[':method', 'GET']],
  [...GET, ['connection', 'close']],
  [...POST, ['content-length', '5']],
  [...POST, ['content-length', 'x']],
  [
    [':method', 'CONNECT'],
    [':authority', 'a:1'],
  ],
  [[':status', '100']],
  [
    [':status', '204'],
    ['content-length', '3'],
  ],
  [[':status', '101']],
  [...OK, ['content-length', '4']],
  [['x', 'y'.repeat(17_000)]],
  [...GET, ['Upper', 'x']],
  [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)],
]
class Talk {
  readonly #c: Chance
  readonly #isToServer: boolean
  readonly #alive: () => readonly number[]
  /** Of so many frames one may break the connection. */
  readonly #calm: number
  #last = -1
  /** @param alive ids of streams that are not over */
  constructor(c: Chance, isToServer: boolean, alive: () => readonly number[]) {
    this.#c = c
    this.#isToServer = isToServer
    this.#alive = alive
    this.#calm = c.of([20, 100, 1000])
  }
  #isWild(): boolean {
    return this.#c.oneIn(this.#calm)
  }
  #id(): number {
    if (this.#isWild()) return this.#c.upTo(60)
    const alive = this.#alive()
    return alive.length > 0 ? this.#c.of(alive) : 0
  }
  /** One that a peer might send. */
  next(): Buffer {
    const c = this.#c
    if (this.#isWild()) return frame(c.upTo(12), c.upTo(255), this.#id(), Buffer.alloc(c.upTo(30), c.upTo(255)))
    const id = this.#id()
    const kind = c.upTo(15)
    if (this.#isToServer && (kind < 4 || (id === 0 && kind < 11))) return this.#request()
    // Nothing is alive: something for the connection.
    if (id === 0 && kind < 11) return windowUpdate(1)
    switch (kind) {
      case 0:
      case 1:
      case 2:
        return headers(id, c.oneIn(6) ? c.of(ODD_FIELDS) : OK, c.oneIn(4))
      case 3:
      case 4:
      case 5:
      case 6:
        return frame(0, c.oneIn(6) ? 1 : 0, id, Buffer.alloc(c.of([0, 1, 5, 1000, 16_384]), 120))
      case 7:
        return frame(0, 8 | (c.oneIn(6) ? 1 : 0), id, padded(c.upTo(20), c.upTo(300)))
      case 8:
        return c.oneIn(3)
          ? headers(id, [['x-trailer', 'y']], !c.oneIn(10))
          : frame(2, 0, id, Buffer.concat([u32(c.upTo(20)), Buffer.from([1])]))
      case 9:
        return c.oneIn(3) ? frame(3, 0, id, u32(c.upTo(14))) : frame(8, 0, id, u32(c.of([0, 1, 0x7fff_ffff])))
      case 10:
        return frame(8, 0, id, u32(c.of([1, 100, 65_535, 1_000_000])))
      case 11:
        return windowUpdate(c.of([1, 1000, 65_535]))
      case 12:
        return frame(
          4,
          0,
          0,
          Buffer.concat([Buffer.from([0, c.of([1, 3, 4, 6, 9])]), u32(c.of([0, 1, 100, 4096, 65_535, 1_000_000]))]),
        )
      case 13:
        return frame(6, c.upTo(1), 0, Buffer.alloc(8, 'p'))
      case 14:
        return this.#isToServer && !c.oneIn(10)
          ? frame(4, 1, 0, Buffer.alloc(0))
          : c.oneIn(8)
            ? frame(7, 0, 0, u32(c.of([3, 0x7fff_ffff]), c.upTo(13)))
            : frame(c.upTo(9) + 20, c.upTo(255), id, Buffer.alloc(c.upTo(9)))
      default:
        return this.#isToServer ? this.#request() : headers(id === 0 ? 1 : id, OK, false)
    }
  }
  #request(): Buffer {
    const c = this.#c
    this.#last += 2 * (c.oneIn(20) ? 2 : 1)
    const whole = headers(this.#last, c.oneIn(6) ? c.of(ODD_FIELDS) : c.of([GET, POST]), c.oneIn(3))
    if (whole.length > 1000 || !c.oneIn(6)) return whole
    const at = 9 + c.upTo(whole.length - 9)
    return Buffer.concat([
      frame(1, whole[4]! & 1, this.#last, whole.subarray(9, at)),
      frame(9, this.#isWild() ? 0 : 4, this.#last, whole.subarray(at)),
    ])
  }
}
const windowUpdate = (bytes: number): Buffer => frame(8, 0, 0, u32(bytes))
const padded = (padding: number, bytes: number): Buffer =>
  Buffer.concat([Buffer.from([padding]), Buffer.alloc(bytes, 120), Buffer.alloc(padding)])

/** Does with streams what owners do, and a few things that they should not. */
class Owners {
  readonly chance: Chance
  readonly streams: Http2Stream[] = []
  readonly #closes = new Map<object, number>()
  readonly wrong: string[] = []
  constructor(c: Chance) {
    this.chance = c
  }

  owner(stream: () => Http2Stream): StreamOwner {
    const told = (what: string): void => {
      if (this.#closes.get(owner)! > 0) this.wrong.push(`${what} after the end`)
      this.act(stream())
    }
    const owner: StreamOwner = {
      onInformational: () => {
        told('onInformational')
      },
      onHead: () => {
        told('onHead')
      },
      onData: () => {
        told('onData')
      },
      onEnd: () => {
        told('onEnd')
      },
      onPause: () => {
        told('onPause')
      },
      onWritten: () => {
        told('onWritten')
      },
      onStreamClose: () => {
        told('onStreamClose')
        this.#closes.set(owner, this.#closes.get(owner)! + 1)
      },
    }
    this.#closes.set(owner, 0)
    return owner
  }
  act(stream: Http2Stream): void {
    const c = this.chance
    switch (c.upTo(14)) {
      case 0:
        stream.pause()
        break
      case 1:
      case 2:
        stream.resume()
        break
      case 3:
        stream.sendHead(OK.flat(), c.oneIn(2))
        break
      case 4:
      case 5:
        if (stream.headSent && !stream.mustWait) stream.sendData(Buffer.alloc(c.of([1, 10, 3000, 40_000])))
        break
      case 6:
        if (stream.headSent) stream.sendEnd(c.oneIn(2) ? ['x', 'y'] : undefined)
        break
      case 7:
        if (c.oneIn(6)) stream.reset(c.upTo(13))
        break
      case 8:
        if (c.oneIn(6)) stream.resetWhenSent(8)
        break
      default:
    }
  }
  end(): string[] {
    for (const [, closes] of this.#closes) if (closes !== 1) this.wrong.push(`told of the end ${closes} times`)
    return this.wrong
  }
}

function check({ session, told, socket }: Rig, owners: Owners, role: string): void {
  assert.ok(told.closes <= 1)
  if (session.isClosed) return
  const unread = owners.streams.reduce((sum, stream) => sum + stream.unreadBytes, 0)
  assert.ok(unread <= CONNECTION_WINDOW, `${unread} bytes unread`)
  assert.ok(
    session.unsentBytes <= MAX_UNSENT,
    `${session.unsentBytes} bytes unsent, ${socket.writableLength} in the socket`,
  )
  if (role === 'server') assert.ok(session.streamCount <= 2 * MAX_STREAMS, `${session.streamCount} streams`)
  for (const stream of owners.streams)
    assert.ok(stream.queuedBytes <= 64 * 1024 + 40_000 + 1000, `${stream.queuedBytes} bytes queued`)
}

async function converse(role: 'server' | 'client', seed: number): Promise<string[]> {
  const c = chance(seed)
  const owners = new Owners(c)
  const clock = new SimClock()
  const r = await rig(role, {
    ...OPTIONS,
    highWaterMark: HIGH_WATER_MARK,
    maxConcurrentStreams: MAX_STREAMS,
    connectionWindowBytes: CONNECTION_WINDOW,
    reads: !c.oneIn(4),
    first: null,
    clock,
  })
  r.told.onCostly = (what) => {
    if (what === 'unread answers' || what === 'continuations') r.session.destroy(11)
  }
  r.told.onStream = (stream): void => {
    owners.streams.push(stream)
    stream.owner = owners.owner(() => stream)
    owners.act(stream)
  }
  const talk = new Talk(c, role === 'server', () =>
    owners.streams.filter((stream) => !stream.isClosed && stream.id > 0).map((stream) => stream.id),
  )
  if (!c.oneIn(50))
    r.peer.socket.write(
      role === 'server'
        ? Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))])
        : frame(4, 0, 0, Buffer.alloc(0)),
    )
  for (let step = 0; step < STEPS; step++) {
    await takeStep(r, owners, talk, role)
    check(r, owners, role)
  }
  await settle()
  r.socket.destroy()
  await settle()
  for (const stream of owners.streams) {
    stream.resume()
    stream.reset(8)
  }
  if (r.told.closes !== 1) owners.wrong.push(`the session was told of its end ${r.told.closes} times`)
  if (clock.pendingTimers > 0) owners.wrong.push('a timer is left')
  return owners.end()
}

/** One turn of the conversation: what the peer says, and what owners do. */
async function takeStep(r: Rig, owners: Owners, talk: Talk, role: 'server' | 'client'): Promise<void> {
  const { chance: c } = owners
  if (role === 'client' && r.session.canOpen && c.oneIn(2)) openStream(r, owners)
  let bytes = Buffer.concat(Array.from({ length: c.oneIn(3) ? 3 : 1 }, () => talk.next()))
  if (c.oneIn(100)) {
    bytes = Buffer.from(bytes)
    bytes[c.upTo(bytes.length - 1)]! ^= 1 << c.upTo(7)
  }
  const cut = c.upTo(bytes.length)
  for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)])
    if (part.length > 0 && !r.peer.socket.destroyed && !r.peer.socket.writableEnded) r.peer.socket.write(part)
  if (c.oneIn(2)) await settle()
  for (const stream of owners.streams) if (c.oneIn(3)) owners.act(stream)
  if (c.oneIn(150)) hurt(r, c)
}

function openStream(r: Rig, owners: Owners): void {
  const { chance: c } = owners
  const stream: Http2Stream = r.session.open(
    owners.owner(() => stream),
    c.oneIn(8) ? 'HEAD' : 'GET',
  )
  owners.streams.push(stream)
  stream.sendHead(c.of([GET, POST]).flat(), c.oneIn(2))
}

function hurt(r: Rig, c: Chance): void {
  c.of([
    () => {
      r.session.close()
    },
    () => {
      r.session.drain()
    },
    () => {
      r.session.destroy(0)
    },
    () => {
      r.socket.destroy()
    },
    () => {
      r.peer.socket.end()
    },
  ])()
}

for (const role of ['server', 'client'] as const) {
  test(`${SEEDS} conversations by chance with a ${role}`, async (t) => {
    const defects: string[] = []
    const listening = listenForDefects((_part, error) => {
      defects.push(error.stack ?? error.message)
    })
    t.after(() => {
      listening[Symbol.dispose]()
    })
    for (let seed = 1; seed <= SEEDS; seed++) {
      const wrong = await converse(role, seed)
      assert.deepEqual([wrong, defects], [[], []], `seed ${seed}`)
    }
  })
}
