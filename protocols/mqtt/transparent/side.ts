/** Reads packets from one of the two streams, in slices, and not while something holds it. */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { type MeshError, toMeshError } from '../../../core/errors.ts'
import { guard } from '../../../core/defects/guard.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Packet } from '../codec/packet.ts'
import type { PacketParser } from '../codec/parser.ts'
import type { PauseReason } from '../pauses.ts'
import { INPUT_END_TIMEOUT_MS } from '../ending.ts'

/** `far`: the other stream takes no more. `answers`: this one does not take what it is answered. */
export type HoldReason = PauseReason | 'far' | 'answers'

export type SideOptions = {
  readonly stream: Duplex
  readonly parser: PacketParser
  readonly clock: Clock
  readonly budget: MemoryBudget
  readonly onBytes: (bytes: number) => void
  /** @param bytes of the packet, good for this call and what is written in it */
  readonly take: (packet: Packet, bytes: Buffer) => void
  /** Packets were taken: what they became is to be written. */
  readonly onTaken: () => void
  /** Not a packet, or one that ends the connection. */
  readonly onError: (err: MeshError) => void
  /** @param cause undefined after an end in order */
  readonly onEnd: (cause: Error | undefined) => void
}

/** As connection/client.ts has them: one chunk may hold thousands of packets, each of them asked about. */
const SLICE_MS = 2
const PACKETS_PER_LOOK = 16

export class Side {
  readonly #o: SideOptions
  readonly #holds = new Set<HoldReason>()
  #isOver = false
  #isTaking = false
  /** No more comes: what came before is taken, and then it is over. */
  #inputEnd: Timer | undefined
  /** Has come and is not taken; against the memory budget. */
  #untakenBytes = 0

  constructor(o: SideOptions) {
    this.#o = o
    const on = (event: string, work: (arg: never) => void): void => {
      o.stream.on(
        event,
        guard('mqtt', (error) => this.#fail(error), work as (arg: unknown) => void),
      )
    }
    on('data', (chunk: Buffer) => this.#onData(chunk))
    on('end', () => this.#onInputEnd())
    on('close', () => this.#onEnd(o.stream.readableEnded ? undefined : new Error('closed')))
    on('error', (err: Error) => this.#onEnd(err))
  }

  get isHeld(): boolean {
    return this.#holds.size > 0
  }
  get heldBytes(): number {
    return this.#untakenBytes
  }
  hold(why: HoldReason): void {
    this.#holds.add(why)
    this.#o.stream.pause()
  }
  /** @returns whether it was held for that; packets that waited are taken */
  release(why: HoldReason): boolean {
    if (!this.#holds.delete(why)) return false
    if (this.isHeld || this.#isOver) return true
    this.#o.stream.resume()
    this.#takePackets()
    return true
  }
  /** Nothing more is taken; what still comes is passed over. */
  end(): void {
    this.#isOver = true
    this.#inputEnd?.cancel()
    this.#count(0)
    this.#o.stream.resume()
  }

  #onData(chunk: Buffer): void {
    const { parser, budget, onBytes } = this.#o
    if (this.#isOver) return
    onBytes(chunk.length)
    budget.garbage?.received(chunk.length)
    parser.push(chunk)
    this.#takePackets()
  }
  #takePackets(): void {
    // A packet that is being taken may release what holds the next one.
    if (this.#isTaking) return
    this.#isTaking = true
    const { parser, clock, take, onTaken, onError } = this.#o
    const fromMs = clock.monotonicMs()
    try {
      for (let taken = 1; !this.isHeld && !this.#isOver; taken++) {
        const packet = parser.next()
        if (packet === undefined) break
        take(packet, parser.packetBytes)
        if (taken % PACKETS_PER_LOOK === 0 && clock.monotonicMs() - fromMs >= SLICE_MS) this.#yield()
      }
      if (!this.#isOver) onTaken()
    } catch (thrown) {
      onError(toMeshError(thrown))
    } finally {
      this.#isTaking = false
    }
    this.#count(this.#isOver ? 0 : parser.heldBytes)
    if (this.#inputEnd && !this.isHeld) this.#onEnd(undefined)
  }
  #onInputEnd(): void {
    if (this.isHeld) this.#inputEnd ??= this.#o.clock.after(INPUT_END_TIMEOUT_MS, () => this.#onEnd(undefined))
    else this.#onEnd(undefined)
  }
  /** Goes on when all sockets that have something to say were heard. */
  #yield(): void {
    this.hold('turn')
    setImmediate(
      guard(
        'mqtt',
        (error) => this.#fail(error),
        () => {
          this.release('turn')
        },
      ),
    )
  }
  #onEnd(cause: Error | undefined): void {
    if (!this.#isOver) this.#o.onEnd(cause)
  }
  #fail(error: MeshError): void {
    if (!this.#isOver) this.#o.onError(error)
    this.#o.stream.destroy()
  }
  #count(bytes: number): void {
    if (bytes === this.#untakenBytes) return
    this.#o.budget.take(bytes - this.#untakenBytes)
    this.#untakenBytes = bytes
  }
}
