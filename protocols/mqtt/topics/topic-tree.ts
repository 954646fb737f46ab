/**
 * A tree with one node per topic level. Filled with filters it answers which filters match a topic; filled with topics,
 * which topics match a filter. Its size is bounded by its owners' limits (subscriptions, retained messages, levels),
 * and so is every walk. A walk that becomes long passes over parts that ask for nothing more (demand.ts).
 */
import { type Demand, joinDemands, MANY } from './demand.ts'
import { Lingering } from './lingering.ts'

/** Most nodes have one child or none, and a map of one takes more than all else of them: `level` is the only child's. */
type Node<V> = {
  level: string | undefined
  child: Node<V> | undefined
  /** All of them, when there were two. */
  children: Map<string, Node<V>> | undefined
  /** The child `+`, and the child `#`: every walk over filters asks every node for them. */
  any: Node<V> | undefined
  rest: Node<V> | undefined
  value: V | undefined
  /** Of all below and of its own value; undefined until somebody asks, and again after a change. */
  demand: Demand | undefined
}
const node = <V>(): Node<V> => ({
  level: undefined,
  child: undefined,
  children: undefined,
  any: undefined,
  rest: undefined,
  value: undefined,
  demand: undefined,
})

/** A walk that visits no more nodes than this asks for no demand: ordinary filters cost no memory and no time for it. */
const SHORT_WALK = 16
/** To go over more children after each change would cost more than it spares. */
const MAX_SUMMED_CHILDREN = 8

export class TopicTree<V> {
  readonly #root = node<V>()
  readonly #demandOf: (value: V) => Demand
  #hasDemands = false
  /** Those with a value, by their whole path: to split it costs more than all else of a look-up. */
  readonly #byPath = new Map<string, Node<V>>()
  /** Deleted, and still there without a value. */
  readonly #emptied = new Lingering()

  /** @param demandOf left out: every walk visits all that matches */
  constructor(demandOf: (value: V) => Demand = () => MANY) {
    this.#demandOf = demandOf
  }

  get size(): number {
    return this.#byPath.size - this.#emptied.size
  }
  get(path: string): V | undefined {
    return this.#byPath.get(path)?.value
  }
  set(path: string, value: V): void {
    let at = this.#byPath.get(path)
    if (at?.value === undefined) {
      if (at) this.#emptied.delete(path)
      this.#byPath.set(path, (at = this.#make(path)))
    }
    at.value = value
  }
  #make(path: string): Node<V> {
    let at = this.#root
    for (const level of path.split('/')) {
      let next = childOf(at, level)
      if (!next) addChild(at, level, (next = node()))
      at = next
    }
    return at
  }
  delete(path: string): void {
    const at = this.#byPath.get(path)
    if (at?.value === undefined) return
    at.value = undefined
    const last = this.#emptied.add(path)
    if (last !== undefined) this.#takeOut(last)
  }
  /** Also takes away the levels that lead nowhere any more. */
  #takeOut(path: string): void {
    this.#byPath.delete(path)
    const way: { readonly parent: Node<V>; readonly level: string }[] = []
    let at: Node<V> | undefined = this.#root
    for (const level of path.split('/')) {
      const next: Node<V> | undefined = childOf(at, level)
      if (!next) break // with another path, while this one lingered
      way.push({ parent: at, level })
      at = next
    }
    for (const { parent, level } of way.toReversed()) {
      if (!isBare(childOf(parent, level)!)) return
      removeChild(parent, level)
    }
  }
  /** To be called after every change of a value, and after `delete`: what was summed up on its way is so no more. */
  noteChange(path: string): void {
    if (!this.#hasDemands) return
    let at: Node<V> | undefined = this.#root
    at.demand = undefined
    for (const level of path.split('/')) {
      at = childOf(at, level)
      if (!at) return
      at.demand = undefined
    }
  }

  /**
   * The paths are filters: visits the values of those that match the topic [MQTT-4.7.2-1], without parts of the tree
   * whose demand is met by what was visited before.
   */
  visitFilters(topic: string, visit: (value: V) => void, isMet: (demand: Demand) => boolean = () => false): void {
    const levels = topic.split('/')
    const walk: ByTopic<V> = { levels, visit, isMet, demandOf: this.#demandOf, visited: 0 }
    if (!topic.startsWith('$')) ofTopic(walk, this.#root, 0)
    else {
      const exact = childOf(this.#root, levels[0]!)
      if (exact) ofTopic(walk, exact, 1)
    }
    if (walk.visited > SHORT_WALK) this.#hasDemands = true
  }
  /** The paths are topics: visits the values of those that the filter matches. */
  visitTopics(filter: string, visit: (value: V) => void): void {
    if (this.size === 0) return
    if (filter.includes('+') || filter.includes('#')) {
      ofFilter({ root: this.#root, levels: filter.split('/'), visit }, this.#root, 0)
      return
    }
    const value = this.get(filter)
    if (value !== undefined) visit(value)
  }
}

function childOf<V>(at: Node<V>, level: string): Node<V> | undefined {
  if (level === '+') return at.any
  if (level === '#') return at.rest
  return exactChild(at, level)
}
function exactChild<V>(at: Node<V>, level: string): Node<V> | undefined {
  if (at.children) return at.children.get(level)
  return at.level === level ? at.child : undefined
}
function addChild<V>(at: Node<V>, level: string, child: Node<V>): void {
  if (level === '+') at.any = child
  else if (level === '#') at.rest = child
  else if (at.children) at.children.set(level, child)
  else if (at.level === undefined) [at.level, at.child] = [level, child]
  else {
    at.children = new Map([
      [at.level, at.child!],
      [level, child],
    ])
    at.level = at.child = undefined
  }
}
function removeChild<V>(at: Node<V>, level: string): void {
  if (level === '+') at.any = undefined
  else if (level === '#') at.rest = undefined
  else if (!at.children) at.level = at.child = undefined
  else if (at.children.delete(level) && at.children.size === 0) at.children = undefined
}
function isBare<V>({ value, level, children, any, rest }: Node<V>): boolean {
  return value === undefined && level === undefined && !children && !any && !rest
}

type ByTopic<V> = {
  readonly levels: readonly string[]
  readonly visit: (value: V) => void
  readonly isMet: (demand: Demand) => boolean
  readonly demandOf: (value: V) => Demand
  visited: number
}
function ofTopic<V>(walk: ByTopic<V>, at: Node<V>, depth: number): void {
  if (walk.visited++ >= SHORT_WALK && walk.isMet(findDemand(at, walk.demandOf))) return
  if (at.rest?.value !== undefined) walk.visit(at.rest.value)
  if (depth === walk.levels.length) {
    if (at.value !== undefined) walk.visit(at.value)
    return
  }
  const exact = exactChild(at, walk.levels[depth]!)
  if (exact) ofTopic(walk, exact, depth + 1)
  if (at.any) ofTopic(walk, at.any, depth + 1)
}
/** Each node is summed up once between two changes of it, and what many sessions share no further than that is known. */
function findDemand<V>(at: Node<V>, demandOf: (value: V) => Demand): Demand {
  return (at.demand ??= sumDemands(at, demandOf))
}
function sumDemands<V>({ value, child, children, any, rest }: Node<V>, demandOf: (value: V) => Demand): Demand {
  if (children && children.size > MAX_SUMMED_CHILDREN) return MANY
  let sum: Demand = value === undefined ? [] : demandOf(value)
  for (const one of [child, any, rest, ...(children?.values() ?? [])]) {
    if (sum === MANY) return MANY
    if (one) sum = joinDemands(sum, findDemand(one, demandOf))
  }
  return sum
}

type Walk<V> = { readonly root: Node<V>; readonly levels: readonly string[]; readonly visit: (value: V) => void }
function ofFilter<V>(walk: Walk<V>, at: Node<V>, depth: number): void {
  const { levels, visit } = walk
  const level = levels[depth]
  if (level === undefined || level === '#') {
    if (at.value !== undefined) visit(at.value)
    if (level === '#') ofChildren(walk, at, depth)
  } else if (level === '+') ofChildren(walk, at, depth + 1)
  else {
    const child = exactChild(at, level)
    if (child) ofFilter(walk, child, depth + 1)
  }
}
/** A wildcard in front does not match what begins with `$` [MQTT-4.7.2-1]. */
function ofChildren<V>(walk: Walk<V>, at: Node<V>, depth: number): void {
  const one = (child: Node<V>, name: string): void => {
    if (at !== walk.root || !name.startsWith('$')) ofFilter(walk, child, depth)
  }
  if (at.children) for (const [name, child] of at.children) one(child, name)
  else if (at.child) one(at.child, at.level!)
}
