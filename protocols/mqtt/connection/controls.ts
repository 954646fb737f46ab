/**
 * SUBSCRIBE, UNSUBSCRIBE and PINGREQ of one connection. Packets act in the order in which they came. One that cannot
 * act yet, because its queue does not exist yet, holds up those behind it. Answers keep that order, and PINGRESP
 * follows the answers to everything before it. Requests that came together share one commit.
 */
import { toMeshError, type MeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Subscribe, Unsubscribe } from '../codec/packet.ts'
import { Fifo } from '../fifo.ts'
import type { Answer } from '../session/subscribe.ts'
import type { Reading } from '../pauses.ts'

/** Filters that wait for the store before the client is not read from, repetitions too; a long one counts as several. */
const MAX_WAITING_FILTERS = 4_096
const FILTER_CHARS = 64
/**
 * Different ones: as many are one commit, and a commit of a few costs as much as one of many. What waits gets old, and
 * with 2,048 a fast client's garbage took ten times its bytes. Repetitions are much less, and of each filter the last
 * is written.
 */
const MAX_WAITING_CHANGES = 1_024

type Control = Subscribe | Unsubscribe
/** Whose they are. */
export interface ControlsOwner {
  act(packet: Control): Answer | Promise<Answer>
  readonly reading: Reading
  readonly link: { close(err: MeshError): void }
}

/**
 * For its turn. What waits for the disk gets old, and garbage that is old keeps all that it refers to until a full
 * collection: of 6 MB of SUBSCRIBE it held 70 MB. So it refers to nothing once it was told (docs/performance.md).
 */
type Waiting = { answer: Answer | undefined; readonly filters: number; readonly changes: number }

export class Controls {
  readonly #owner: ControlsOwner
  /** Made when the first has to wait. */
  #answers: Fifo<Waiting> | undefined
  #isAnswering = false
  #waitingFilters = 0
  #waitingChanges = 0
  /** What belongs to answers that were given is not with the client yet: retained messages. */
  #unfinished: Promise<void> | undefined

  constructor(owner: ControlsOwner) {
    this.#owner = owner
  }

  take(packet: Control): void {
    const { reading } = this.#owner
    const filters = countFilters(packet)
    const answer = this.#owner.act(packet)
    if (!(answer instanceof Promise)) {
      this.#enqueue(answer, filters)
      return
    }
    reading.hold('acting')
    detach(
      'mqtt',
      answer.then((made) => {
        this.#enqueue(made, filters)
        this.#resume('acting')
      }),
      (err) => this.#close(err),
    )
  }
  #close(err: MeshError): void {
    this.#owner.link.close(err)
  }

  /** Nothing waits for its answer. */
  get isAnswered(): boolean {
    return !this.#answers?.size && this.#unfinished === undefined
  }
  /** Calls once everything is answered that came before. */
  callWhenAnswered(then: () => void): void {
    if (this.isAnswered) {
      then()
      return
    }
    const tell = (): undefined => {
      const before = this.#unfinished
      if (before) detach('mqtt', before.then(then), (err) => this.#close(err))
      else then()
    }
    this.#enqueue({ durable: undefined, changes: 0, tell }, 0)
  }

  #enqueue(answer: Answer, filters: number): void {
    if (!this.#isAnswering && !this.#answers?.size && answer.durable === undefined) {
      this.#tell(answer, undefined)
      return
    }
    const { changes } = answer
    this.#answers ??= new Fifo()
    this.#answers.push({ answer, filters, changes })
    this.#waitingFilters += filters
    this.#waitingChanges += changes
    if (this.#waitingFilters >= MAX_WAITING_FILTERS || this.#waitingChanges >= MAX_WAITING_CHANGES)
      this.#owner.reading.hold('subscriptions')
    if (!this.#isAnswering) this.#answerNext()
  }
  #answerNext(): void {
    for (let next = this.#answers?.first(); next !== undefined; next = this.#answers?.first()) {
      const durable = next.answer?.durable
      this.#isAnswering = durable !== undefined
      if (durable) {
        detach(
          'mqtt',
          durable.then(
            () => this.#committed(durable, undefined),
            (err: unknown) => this.#committed(durable, toMeshError(err)),
          ),
          (err) => this.#close(err),
        )
        break
      }
      this.#tellFirst(undefined)
    }
    // Behind all answers of a commit: what is read between them would be a commit of its own.
    if (this.#waitingFilters < MAX_WAITING_FILTERS / 2 && this.#waitingChanges < MAX_WAITING_CHANGES / 2)
      this.#resume('subscriptions')
  }
  #committed(durable: Promise<void>, failed: MeshError | undefined): void {
    while (this.#answers?.first()?.answer?.durable === durable) this.#tellFirst(failed)
    this.#isAnswering = false
    this.#answerNext()
  }
  #tellFirst(failed: MeshError | undefined): void {
    const first = this.#answers?.shift()
    if (!first?.answer) return
    const { answer, filters, changes } = first
    first.answer = undefined
    this.#tell(answer, failed)
    this.#waitingFilters -= filters
    this.#waitingChanges -= changes
  }
  #tell(answer: Answer, failed: MeshError | undefined): void {
    try {
      this.#note(answer.tell(failed))
    } catch (thrown) {
      this.#close(toMeshError(thrown))
    }
  }
  #note(rest: Promise<void> | undefined): void {
    if (!rest) return
    const all = this.#unfinished ? Promise.all([this.#unfinished, rest]).then(() => undefined) : rest
    this.#unfinished = all
    const finish = (): void => {
      if (this.#unfinished === all) this.#unfinished = undefined
    }
    detach('mqtt', all.then(finish), (err) => this.#close(err))
  }

  #resume(why: 'acting' | 'subscriptions'): void {
    const { reading } = this.#owner
    if (reading.release(why)) reading.takePackets()
  }
}

function countFilters(packet: Control): number {
  let filters = 0
  if (packet.type === 'subscribe') for (const { filter } of packet.subscriptions) filters += countFilter(filter)
  else for (const filter of packet.filters) filters += countFilter(filter)
  return filters
}
const countFilter = (filter: string): number => 1 + Math.floor(filter.length / FILTER_CHARS)
