/**
 * DNS over TCP with a client: any number of queries on one connection, answered as they are ready (RFC 7766 §6.2, §7).
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { takeLease, Tally } from '../../core/lease.ts'
import { detach, guard } from '../../core/defects/guard.ts'
import { frame } from './resolver/exchange.ts'
import { MAX_QUERY_BYTES } from './codec/query.ts'
import { HEADER_BYTES } from './codec/wire.ts'

/** Queries of one connection that are worked on at the same time; then it is not read from. */
const MAX_PIPELINED = 32

export type TcpOptions = {
  readonly clock: Clock
  readonly idleMs: number
  /** Undefined: no answer. Never rejects. */
  readonly answer: (message: Buffer) => Promise<Buffer | undefined>
}

/** Resolves when the connection is over, with why if it was ended here. Destroying the stream ends it. */
export function serveTcp(stream: Duplex, o: TcpOptions): Promise<MeshError | undefined> {
  return new Promise((resolve) => {
    new Connection(stream, o, resolve).read()
  })
}

class Connection {
  readonly #stream: Duplex
  readonly #o: TcpOptions
  readonly #over: (error: MeshError | undefined) => void
  readonly #idle: ReturnType<Clock['after']>
  #got: Buffer = Buffer.alloc(0)
  readonly #working = new Tally()
  #reading: 'open' | 'ended' = 'open'

  constructor(stream: Duplex, o: TcpOptions, over: (error: MeshError | undefined) => void) {
    this.#stream = stream
    this.#o = o
    this.#over = over
    // A query that is worked on has an end of its own; a client that does not read its answers has none.
    this.#idle = o.clock.after(o.idleMs, () => {
      if (this.#working.now > 0) this.#idle.refresh()
      else this.#end(new MeshError('MESH_IDLE_TIMEOUT', `no query for ${o.idleMs} ms`))
    })
  }

  read(): void {
    const stream = this.#stream
    const defect = (error: MeshError): void => this.#end(error)
    const ended = guard('dns', defect, () => {
      this.#end()
    })
    stream.on(
      'data',
      guard('dns', defect, (chunk: Buffer) => {
        this.#got = this.#got.length === 0 ? chunk : Buffer.concat([this.#got, chunk])
        this.#work()
      }),
    )
    stream.on(
      'end',
      guard('dns', defect, () => {
        this.#reading = 'ended'
        this.#work()
      }),
    )
    stream.on(
      'drain',
      guard('dns', defect, () => {
        this.#work()
      }),
    )
    stream.on('error', ended)
    stream.on('close', ended)
  }

  #work(): void {
    while (this.#got.length >= 2 && this.#mayWork()) {
      const size = this.#got.readUInt16BE(0)
      if (size < HEADER_BYTES || size > MAX_QUERY_BYTES) {
        this.#end(new MeshError('MESH_MALFORMED_INPUT', `a DNS message of ${size} bytes`))
        return
      }
      if (this.#got.length < 2 + size) break
      const message = Buffer.from(this.#got.subarray(2, 2 + size))
      this.#got = this.#got.subarray(2 + size)
      this.#idle.refresh()
      const place = takeLease(this.#working)
      detach(
        'dns',
        this.#o
          .answer(message)
          .finally(() => {
            place[Symbol.dispose]()
          })
          .then((answer) => {
            this.#answered(answer)
          }),
        (error) => this.#end(error),
      )
    }
    if (this.#mayWork()) this.#stream.resume()
    else this.#stream.pause()
    if (this.#reading === 'ended' && this.#working.now === 0 && this.#mayWork()) this.#stream.end()
  }

  #answered(answer: Buffer | undefined): void {
    if (this.#stream.destroyed) return
    this.#idle.refresh()
    if (answer) this.#stream.write(frame(answer))
    this.#work()
  }

  #mayWork(): boolean {
    return this.#working.now < MAX_PIPELINED && !this.#stream.writableNeedDrain
  }

  #end(error?: MeshError): void {
    this.#idle.cancel()
    this.#stream.destroy()
    this.#over(error)
  }
}
