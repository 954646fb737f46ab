/**
 * Endpoints that answer by chance, at once or piece by piece, and leave by chance. They find the mark of the request
 * that they answer.
 */
import net from 'node:net'
import { frame } from '../../attack/http2-frames.ts'
import { H2Reader } from './h2-reader.ts'
import { RequestHeads } from './request-heads.ts'
import { answer } from './http1.ts'
import { endpoint } from './http2.ts'
import { marksIn, type Dice } from './words.ts'

export type Endpoints = Disposable & {
  /** Heads that no endpoint may see. */ readonly forbidden: readonly string[]
  /** Requests of several conversations in one message. */ readonly mixed: readonly string[]
}

export function startEndpoints(port: number, port2: number, dice: Dice): Endpoints {
  const open = new Set<net.Socket>()
  const forbidden: string[] = []
  const mixed: string[] = []
  const serve = (at: number, onBytes: (socket: net.Socket, bytes: Buffer) => void): net.Server =>
    net
      .createServer({ noDelay: true }, (socket) => {
        open.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => open.delete(socket))
        socket.on('data', (bytes: Buffer) => onBytes(socket, bytes))
      })
      .listen(at, '127.0.0.1')

  const readers = new WeakMap<net.Socket, RequestHeads>()
  const http1 = serve(port, (socket, bytes) => {
    const reader = readers.get(socket) ?? new RequestHeads()
    readers.set(socket, reader)
    const heads = reader.take(bytes)
    for (const head of heads) if (/^[A-Z]+ \/private/.test(head)) forbidden.push(head.slice(0, 300))
    // One try, one message: heads of several requests in one piece mean that one was hidden in another.
    if (new Set(heads.flatMap((head) => [...marksIn(head)])).size > 1) mixed.push(heads.join('').slice(0, 500))
    const [id] = marksIn(bytes.toString('latin1'))
    if (id !== undefined) leave(dice, socket, answer(dice, id))
  })
  const seen = new WeakMap<net.Socket, Seen>()
  const http2 = serve(port2, (socket, bytes) => {
    let mine = seen.get(socket)
    if (mine === undefined) {
      seen.set(socket, (mine = new Seen({ forbidden, mixed })))
      socket.write(frame('settings', 0, 0))
    }
    let streams: ReturnType<Seen['take']>
    try {
      streams = mine.take(bytes)
    } catch (thrown) {
      mixed.push(`no HTTP/2: ${String(thrown)}`)
      socket.destroy()
      return
    }
    if (streams.length > 0) leave(dice, socket, endpoint(dice, streams))
  })
  return {
    forbidden,
    mixed,
    [Symbol.dispose]: () => {
      http1.close()
      http2.close()
      for (const socket of open) socket.destroy()
    },
  }
}

function leave(dice: Dice, socket: net.Socket, bytes: Buffer): void {
  const cut = dice.hits(0.3) ? dice.upTo(bytes.length) : bytes.length
  socket.write(bytes.subarray(0, cut))
  switch (dice.upTo(8)) {
    case 0:
      socket.resetAndDestroy()
      return
    case 1:
      socket.end()
      return
    default:
      setTimeout(() => {
        if (!socket.destroyed) socket.write(bytes.subarray(cut))
      }, dice.upTo(5))
  }
}

/** What one connection's endpoint has seen. */
class Seen {
  readonly #reader = new H2Reader()
  /** The mark of each stream. */
  readonly #marks = new Map<number, number>()
  readonly #found: { readonly forbidden: string[]; readonly mixed: string[] }

  constructor(found: { readonly forbidden: string[]; readonly mixed: string[] }) {
    this.#found = found
  }

  /** @returns streams that begin, with their marks; 0 = nobody's. Throws when the bytes are no HTTP/2 */
  take(bytes: Buffer): { stream: number; id: number }[] {
    const begun: { stream: number; id: number }[] = []
    for (const { stream, kind, fields, text } of this.#reader.read(bytes)) {
      const marks = marksIn(text)
      const known = this.#marks.get(stream)
      if (known !== undefined) marks.add(known)
      if (marks.size > 1) this.#found.mixed.push(text.slice(0, 500))
      const [id] = marks
      if (id !== undefined) this.#marks.set(stream, id)
      if (kind !== 'head') continue
      if (fields.some((value, i) => fields[i - 1] === ':path' && value.startsWith('/private')))
        this.#found.forbidden.push(text.slice(0, 300))
      begun.push({ stream, id: id ?? 0 })
    }
    return begun
  }
}
