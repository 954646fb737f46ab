/**
 * What an acl file says (acl-file.ts), as trees of topic levels: a question costs what the topic has of levels,
 * whatever the number of lines. As in mosquitto a line that denies wins over all that allow, first among the lines of
 * the user, then among the patterns, and what no line allows is denied.
 *
 * Values that are put in for %c and %u never widen a pattern. With `+` or `#` in one of them no pattern counts, as in
 * mosquitto (CVE-2017-7650). With `/` in it, which mosquitto takes, the patterns that use it allow nothing and deny
 * everything; nor does one that begins with `$` open the topics of the server.
 */
import type { Levels } from '../topics/topics.ts'

/** Rights of lines, to be joined. */
export const READ = 1
export const WRITE = 2
export const DENY = 4

type Node = {
  /** Those of the lines that end here. */
  bits: number
  /** Those of the lines that end with `#` behind it. */
  rest: number
  any: Node | undefined
  /** The first child, which most nodes have alone: a map takes more than all else of them. */
  level: string | undefined
  child: Node | undefined
  /** All of them, once there are two. */
  exact: Map<string, Node> | undefined
  /** Levels with %c or %u in them. */
  filled: Map<string, Node> | undefined
}
const node = (): Node => ({
  bits: 0,
  rest: 0,
  any: undefined,
  level: undefined,
  child: undefined,
  exact: undefined,
  filled: undefined,
})

export class AclTree {
  readonly #root = node()
  /** Denied to whose client id, or user, cannot be put in. */
  deniesByClientId = false
  deniesByUser = false

  /** @param levels of a well-formed filter @param how whether %c and %u are put in */
  add(levels: Levels, bits: number, how: 'literal' | 'pattern'): void {
    let at = this.#root
    for (const level of levels) {
      if (level === '#') {
        at.rest |= bits
        return
      }
      at = below(at, level, how)
    }
    at.bits |= bits
  }
  addPattern(levels: Levels, bits: number): void {
    this.add(levels, bits, 'pattern')
    if ((bits & DENY) === 0) return
    const text = levels.join('/')
    this.deniesByClientId ||= text.includes('%c')
    this.deniesByUser ||= text.includes('%u')
  }

  /** @param fill what the levels of a node with %c or %u are for who asks */
  collectBits(
    topic: string,
    fill?: (filled: ReadonlyMap<string, Node>) => ReadonlyMap<string, readonly Node[]>,
  ): number {
    return collect(this.#root, topic.split('/'), 0, { isOfServer: topic.startsWith('$'), fill })
  }
}

function below(at: Node, level: string, how: 'literal' | 'pattern'): Node {
  if (level === '+') return (at.any ??= node())
  if (how === 'pattern' && /%[cu]/.test(level)) return among((at.filled ??= new Map()), level)
  if (at.exact) return among(at.exact, level)
  if (at.level === level) return at.child!
  const made = node()
  if (at.child)
    at.exact = new Map([
      [at.level!, at.child],
      [level, made],
    ])
  else [at.level, at.child] = [level, made]
  return made
}
function among(children: Map<string, Node>, level: string): Node {
  const known = children.get(level)
  if (known) return known
  const made = node()
  children.set(level, made)
  return made
}

type Walk = {
  readonly isOfServer: boolean
  readonly fill: ((filled: ReadonlyMap<string, Node>) => ReadonlyMap<string, readonly Node[]>) | undefined
}
function collect(at: Node, topic: Levels, depth: number, walk: Walk): number {
  const isHidden = depth === 0 && walk.isOfServer
  let bits = isHidden ? 0 : at.rest
  const level = topic[depth]
  if (level === undefined) return bits | at.bits
  const exact = at.exact ? at.exact.get(level) : at.level === level ? at.child : undefined
  if (exact) bits |= collect(exact, topic, depth + 1, walk)
  if (at.any && !isHidden) bits |= collect(at.any, topic, depth + 1, walk)
  if (at.filled && walk.fill)
    for (const one of walk.fill(at.filled).get(level) ?? []) {
      const found = collect(one, topic, depth + 1, walk)
      bits |= isHidden ? found & DENY : found
    }
  return bits
}

type Asking = { readonly clientId: string; readonly user: string | undefined }

export class Acl {
  readonly #users: ReadonlyMap<string, AclTree>
  readonly #anonymous: AclTree | undefined
  readonly #patterns: AclTree | undefined

  constructor(p: {
    users: ReadonlyMap<string, AclTree>
    /** Of clients without a user. */
    anonymous: AclTree | undefined
    patterns: AclTree | undefined
  }) {
    this.#users = p.users
    this.#anonymous = p.anonymous
    this.#patterns = p.patterns
  }

  /** @returns whether this client has the right (READ or WRITE) to a topic */
  compileFor(client: Asking): (topic: string, right: number) => boolean {
    const own = client.user === undefined ? this.#anonymous : this.#users.get(client.user)
    const byPattern = this.#patterns && patternsOf(this.#patterns, client)
    return (topic, right) => {
      const bits = own?.collectBits(topic) ?? 0
      if ((bits & DENY) !== 0) return false
      if ((bits & right) !== 0) return true
      const more = byPattern?.(topic) ?? 0
      return (more & DENY) === 0 && (more & right) !== 0
    }
  }
}

/** @returns undefined when no pattern counts for this client */
function patternsOf(patterns: AclTree, { clientId, user }: Asking): ((topic: string) => number) | undefined {
  if (/[+#]/.test(clientId + (user ?? ''))) return undefined
  const [isOddId, isOddUser] = [clientId.includes('/'), user?.includes('/') ?? false]
  if ((isOddId && patterns.deniesByClientId) || (isOddUser && patterns.deniesByUser)) return undefined
  /** Levels as this client has them, by the node that they are below. */
  const known = new Map<ReadonlyMap<string, Node>, ReadonlyMap<string, readonly Node[]>>()
  const fill = (filled: ReadonlyMap<string, Node>): ReadonlyMap<string, readonly Node[]> => {
    const before = known.get(filled)
    if (before) return before
    const made = new Map<string, Node[]>()
    for (const [level, child] of filled) {
      const isMissing = level.includes('%u') && user === undefined
      if (isMissing || (isOddId && level.includes('%c')) || (isOddUser && level.includes('%u'))) continue
      const text = level.replaceAll(/%[cu]/g, (name) => (name === '%c' ? clientId : user!))
      const same = made.get(text)
      if (same) same.push(child)
      else made.set(text, [child])
    }
    known.set(filled, made)
    return made
  }
  return (topic) => patterns.collectBits(topic, fill)
}
