/** One query to one upstream resolver: over UDP from a port of its own, over TCP when the answer does not fit. */
import { randomInt } from 'node:crypto'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../core/os/clock.ts'
import type { Datagrams, Network } from '../../../core/os/network.ts'
import { encodeOptRecord, writeHeader } from '../codec/answer.ts'
import type { DnsMetrics, TryResult } from '../metrics.ts'
import type { Query } from '../codec/query.ts'
import { readResponse, type Expected, type Response } from '../codec/response.ts'
import type { Server } from './servers.ts'
import { AD, HEADER_BYTES } from '../codec/wire.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'

export type Reply =
  | { readonly result: 'answered'; readonly response: Response }
  | { readonly result: Exclude<TryResult, 'answered'> }
type ExchangeOptions = {
  readonly network: Network
  readonly clock: Clock
  readonly metrics: DnsMetrics
  readonly attemptMs: number
  /** Told of garbage. */
  readonly leaves: (bytes: number) => void
}
/** Of a socket and all that was made around it. */
const LEFT_BYTES = 16 * 1024
/** A try that waits for its answer. */
type Waiting = { readonly id: number; end(result: 'loop' | 'cancelled'): void }

export class Exchange implements Disposable {
  readonly #o: ExchangeOptions
  /** By transport and local port. */
  readonly #waiting = new Map<string, Waiting>()
  #over = false

  constructor(options: ExchangeOptions) {
    this.#o = options
  }

  /**
   * Ends with `cancelled` when nobody wants the answer any more. Resolves within `attemptMs`, or twice that when TCP is
   * needed; never rejects. Id and port are new and not to be guessed (RFC 5452 §9.2).
   */
  async ask(server: Server, query: Query, signal?: AbortSignal): Promise<Reply> {
    const expected: Expected = { id: randomInt(0x10000), question: query.question, type: query.type }
    const message = encodeQuery(
      query,
      expected.id,
      server.edns ? encodeOptRecord(query.edns?.dnssecOk ?? false, 0) : Buffer.alloc(0),
    )
    const reply = this.#counted('udp', await this.#overUdp(server, message, expected, signal))
    // RFC 7766 §5: what is cut is asked for again over TCP.
    return reply.result === 'answered' && reply.response.truncated
      ? this.#counted('tcp', await this.#overTcp(server, message, expected, signal))
      : reply
  }

  /**
   * Ends the try whose query came back to us as a client's.
   * @returns whether it is one: port and id are those of a query of ours that waits
   */
  cameBack(over: 'udp' | 'tcp', port: number, id: number): boolean {
    const waiting = this.#waiting.get(`${over} ${port}`)
    if (waiting?.id !== id) return false
    waiting.end('loop')
    return true
  }

  [Symbol.dispose](): void {
    this.#over = true
    for (const { end } of this.#waiting.values()) end('cancelled')
  }

  #counted(over: 'udp' | 'tcp', reply: Reply): Reply {
    this.#o.metrics.tried(over, reply.result)
    return reply
  }

  async #overUdp(
    { address }: Server,
    message: Buffer,
    expected: Expected,
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    const { network, clock, attemptMs } = this.#o
    const done = Promise.withResolvers<Reply>()
    const timer = clock.after(attemptMs, () => done.resolve({ result: 'timeout' }))
    const stop = guard('dns', doNothing, () => done.resolve({ result: 'cancelled' }))
    signal?.addEventListener('abort', stop)
    let socket: Datagrams | undefined
    try {
      socket = await network.bindUdp(
        { host: net.isIPv6(address.host) ? '::' : '0.0.0.0', port: 0 },
        {
          onDatagram: (bytes) => {
            const response = readResponse(bytes, expected)
            if (response) done.resolve({ result: 'answered', response })
          },
          onError: () => done.resolve({ result: 'unreachable' }),
        },
        { peer: address },
      )
      this.#wait(`udp ${socket.port}`, { id: expected.id, end: (result) => done.resolve({ result }) })
      socket.send(message, address)
      return await done.promise
    } catch {
      return { result: 'unreachable' }
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', stop)
      if (socket) this.#waiting.delete(`udp ${socket.port}`)
      await socket?.[Symbol.asyncDispose]()
      this.#o.leaves(LEFT_BYTES)
    }
  }

  async #overTcp(
    { address }: Server,
    message: Buffer,
    expected: Expected,
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    const { network, clock, attemptMs } = this.#o
    const done = Promise.withResolvers<Reply>()
    const stop = new AbortController()
    const timer = clock.after(attemptMs, () => {
      done.resolve({ result: 'timeout' })
      stop.abort(new Error('too late'))
    })
    const cancel = guard('dns', doNothing, () => {
      done.resolve({ result: 'cancelled' })
      stop.abort(new Error('nobody waits'))
    })
    signal?.addEventListener('abort', cancel)
    let stream: Duplex | undefined
    let key = ''
    try {
      const dialed = await network.dial(address, stop.signal)
      stream = dialed.stream
      key = `tcp ${dialed.local.port}`
      this.#wait(key, { id: expected.id, end: (result) => done.resolve({ result }) })
      readMessage(stream, (bytes) => {
        const response = bytes && readResponse(bytes, expected)
        done.resolve(response ? { result: 'answered', response } : { result: 'unreachable' })
      })
      stream.write(frame(message))
      return await done.promise
    } catch {
      return { result: stop.signal.aborted ? 'timeout' : 'unreachable' }
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', cancel)
      this.#waiting.delete(key)
      stream?.destroy()
    }
  }

  #wait(key: string, waiting: Waiting): void {
    this.#waiting.set(key, waiting)
    if (this.#over) waiting.end('cancelled')
  }
}

/** Two bytes of length in front (RFC 1035 §4.2.2), in one write (RFC 7766 §8). */
export function frame(message: Buffer): Buffer {
  const out = Buffer.alloc(2 + message.length)
  out.writeUInt16BE(message.length)
  out.set(message, 2)
  return out
}

function encodeQuery(query: Query, id: number, opt: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  // AD: the answer is also kept for clients that ask for it (RFC 6840 §5.7).
  writeHeader(header, { id, flags: query.flags | AD, counts: [1, 0, 0, opt.length > 0 ? 1 : 0] })
  return Buffer.concat([header, query.question, opt])
}

/** Calls once: with the first message, or undefined when the stream is over before it is whole. */
function readMessage(stream: Duplex, then: (bytes: Buffer | undefined) => void): void {
  let got = Buffer.alloc(0)
  const over = guard('dns', doNothing, () => then(undefined))
  stream.on(
    'data',
    guard('dns', over, (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      if (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0)) then(got.subarray(2, 2 + got.readUInt16BE(0)))
    }),
  )
  for (const event of ['end', 'error', 'close']) stream.on(event, over)
}
