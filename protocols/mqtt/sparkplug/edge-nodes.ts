/**
 * The Edge Nodes whose messages go upstream, with the sequence number that each sent last (Sparkplug 3.0 §6.4.19), in
 * the order in which the upstream broker gets them: a number that is missing there is missing for the Host Application.
 */
import { matches } from '../topics/topics.ts'
import { readSeq, type Unread } from './payload.ts'
import { listSequencedTopics, type SparkplugTopic } from './topic.ts'

/** Those that were heard last; an id takes memory and is the client's choice. */
export const MAX_NODES = 1_000
const MAX_NAME_CHARS = 1_024
const SEQUENCE = 256

/** Of whoever forwards: which topics that is. */
export type Carried = { readonly filters: readonly string[]; readonly maxInflatedBytes: number }
type EdgeNode<C extends Carried> = { seq: number | undefined; carried: C; isWhole: boolean }

export class EdgeNodes<C extends Carried> {
  readonly #nodes = new Map<string, EdgeNode<C>>()
  /** Those that were forgotten, or never remembered, because there are too many. */
  forgotten = 0

  get size(): number {
    return this.#nodes.size
  }
  *of(carried: (one: C) => boolean): Iterable<{ readonly node: string; readonly carried: C }> {
    for (const [node, one] of this.#nodes) if (carried(one.carried)) yield { node, carried: one.carried }
  }
  clear(): void {
    this.#nodes.clear()
  }

  /** @returns whether messages are missing in front of this one, or why that is not known */
  observe({ type, node }: SparkplugTopic, payload: Uint8Array, carried: C): 'next' | 'gap' | Unread {
    if (type === 'NCMD' || type === 'DCMD') return 'next'
    if (type === 'NDEATH') {
      this.#nodes.delete(node)
      return 'next'
    }
    const one = this.#remember(node, carried)
    if (!one?.isWhole) return 'next'
    const seq = readSeq(payload, carried.maxInflatedBytes)
    if (typeof seq === 'string') {
      one.seq = undefined
      return seq
    }
    const { seq: before } = one
    if (seq !== undefined) one.seq = seq
    // The same number again is a repetition (QoS 1), and a birth begins anew [tck-id-payloads-nbirth-seq].
    if (type === 'NBIRTH' || seq === undefined || before === undefined || seq === before) return 'next'
    return seq === (before + 1) % SEQUENCE ? 'next' : 'gap'
  }

  #remember(node: string, carried: C): EdgeNode<C> | undefined {
    const known = this.#nodes.get(node)
    if (known?.carried === carried) {
      // The last in order is the one that was heard last.
      if (this.#nodes.size >= MAX_NODES) {
        this.#nodes.delete(node)
        this.#nodes.set(node, known)
      }
      return known
    }
    if (node.length > MAX_NAME_CHARS) {
      this.forgotten++
      return undefined
    }
    if (!known && this.#nodes.size >= MAX_NODES) {
      this.#nodes.delete(this.#nodes.keys().next().value!)
      this.forgotten++
    }
    const one = { seq: undefined, carried, isWhole: isWhole(node, carried) }
    this.#nodes.set(node, one)
    return one
  }
}

/** All that an Edge Node numbers goes the same way; where only some of it does, numbers are missing by intent. */
function isWhole(node: string, { filters }: Pick<Carried, 'filters'>): boolean {
  return listSequencedTopics(node).every((topic) => filters.some((filter) => matches(filter, topic)))
}
