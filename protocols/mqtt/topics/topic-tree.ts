/**
 * A tree with one node per topic level. Filled with filters it answers which filters match a topic; filled with topics,
 * which topics match a filter. Its size is bounded by its owners' limits (subscriptions, retained messages, levels),
 * and so is every walk.
 */
type Node<V> = { children: Children<V>; value: V | undefined }
type Children<V> = Map<string, Node<V>> | undefined
/** Most nodes are the last of their path, and an empty map takes more than all else of them. */
const node = <V>(): Node<V> => ({ children: undefined, value: undefined })

export class TopicTree<V> {
  readonly #root = node<V>()

  get(path: string): V | undefined {
    let at: Node<V> | undefined = this.#root
    for (const level of path.split('/')) at = at?.children?.get(level)
    return at?.value
  }
  set(path: string, value: V): void {
    let at = this.#root
    for (const level of path.split('/')) {
      const children: Map<string, Node<V>> = (at.children ??= new Map())
      let next = children.get(level)
      if (!next) children.set(level, (next = node()))
      at = next
    }
    at.value = value
  }
  /** Also takes away the levels that lead nowhere any more. */
  delete(path: string): void {
    const way: { readonly parent: Node<V>; readonly level: string }[] = []
    let at = this.#root
    for (const level of path.split('/')) {
      const next = at.children?.get(level)
      if (!next) return
      way.push({ parent: at, level })
      at = next
    }
    at.value = undefined
    for (const { parent, level } of way.toReversed()) {
      const child = parent.children!.get(level)!
      if (child.value !== undefined || child.children) return
      parent.children!.delete(level)
      if (parent.children!.size === 0) parent.children = undefined
    }
  }

  /** The paths are filters: visits the values of those that match the topic. [MQTT-4.7.2-1] */
  ofTopic(topic: string, visit: (value: V) => void): void {
    const levels = topic.split('/')
    if (topic.startsWith('$')) ofExactLevel(this.#root, levels, 0, visit)
    else ofTopic(this.#root, levels, 0, visit)
  }
  /** The paths are topics: visits the values of those that the filter matches. */
  ofFilter(filter: string, visit: (value: V) => void): void {
    ofFilter(this.#root, filter.split('/'), 0, visit)
  }
}

function ofTopic<V>(at: Node<V>, levels: readonly string[], depth: number, visit: (value: V) => void): void {
  const rest = at.children?.get('#')
  if (rest?.value !== undefined) visit(rest.value)
  if (depth === levels.length) {
    if (at.value !== undefined) visit(at.value)
    return
  }
  ofExactLevel(at, levels, depth, visit)
  const any = at.children?.get('+')
  if (any) ofTopic(any, levels, depth + 1, visit)
}
function ofExactLevel<V>(at: Node<V>, levels: readonly string[], depth: number, visit: (value: V) => void): void {
  const exact = at.children?.get(levels[depth]!)
  if (exact) ofTopic(exact, levels, depth + 1, visit)
}

function ofFilter<V>(at: Node<V>, levels: readonly string[], depth: number, visit: (value: V) => void): void {
  const level = levels[depth]
  if (level === undefined || level === '#') {
    if (at.value !== undefined) visit(at.value)
    if (level === '#')
      for (const [name, child] of at.children ?? [])
        if (depth > 0 || !name.startsWith('$')) ofFilter(child, levels, depth, visit)
    return
  }
  if (level === '+') {
    for (const [name, child] of at.children ?? [])
      if (depth > 0 || !name.startsWith('$')) ofFilter(child, levels, depth + 1, visit)
    return
  }
  const child = at.children?.get(level)
  if (child) ofFilter(child, levels, depth + 1, visit)
}
