/**
 * A tree with one node per topic level. Filled with filters it answers which filters match a topic; filled with topics,
 * which topics match a filter. Its size is bounded by its owners' limits (subscriptions, retained messages, levels),
 * and so is every walk.
 */

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
}
const node = <V>(): Node<V> => ({
  level: undefined,
  child: undefined,
  children: undefined,
  any: undefined,
  rest: undefined,
  value: undefined,
})

export class TopicTree<V> {
  readonly #root = node<V>()
  /** Those with a value, by their whole path: to split it costs more than all else of a look-up. */
  readonly #byPath = new Map<string, Node<V>>()

  get size(): number {
    return this.#byPath.size
  }
  get(path: string): V | undefined {
    return this.#byPath.get(path)?.value
  }
  set(path: string, value: V): void {
    let at = this.#byPath.get(path)
    if (!at) this.#byPath.set(path, (at = this.#make(path)))
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
  /** Also takes away the levels that lead nowhere any more. */
  delete(path: string): void {
    if (!this.#byPath.delete(path)) return
    const way: { readonly parent: Node<V>; readonly level: string }[] = []
    let at = this.#root
    for (const level of path.split('/')) {
      way.push({ parent: at, level })
      at = childOf(at, level)!
    }
    at.value = undefined
    for (const { parent, level } of way.toReversed()) {
      if (!isBare(childOf(parent, level)!)) return
      removeChild(parent, level)
    }
  }

  /** The paths are filters: visits the values of those that match the topic. [MQTT-4.7.2-1] */
  visitFilters(topic: string, visit: (value: V) => void): void {
    const levels = topic.split('/')
    if (!topic.startsWith('$')) ofTopic(this.#root, levels, 0, visit)
    else {
      const exact = childOf(this.#root, levels[0]!)
      if (exact) ofTopic(exact, levels, 1, visit)
    }
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

function ofTopic<V>(at: Node<V>, levels: readonly string[], depth: number, visit: (value: V) => void): void {
  if (at.rest?.value !== undefined) visit(at.rest.value)
  if (depth === levels.length) {
    if (at.value !== undefined) visit(at.value)
    return
  }
  const exact = exactChild(at, levels[depth]!)
  if (exact) ofTopic(exact, levels, depth + 1, visit)
  if (at.any) ofTopic(at.any, levels, depth + 1, visit)
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
