/** The number that hash balancers (ring-hash, maglev) place a request with (envoy RouteAction.HashPolicy). Pure. */
import { hash64 } from '../../xx-hash.ts'
import type { HashSource } from '../../../model/route.ts'
import { queryValue } from '../../router.ts'
import { findCookie } from './cookie.ts'

export type HashFacts = {
  /** Request header, lower-case name. */
  header(name: string): string | undefined
  /** The same, each line by itself. */
  values(name: string): string | readonly string[] | undefined
  /** With query. */
  readonly path: string
  readonly remoteIp: string
  /** Of the client's connection, both ends: what a cookie is made of. */
  readonly connection: string
}
/** `hash` undefined: no source is present, and the balancer picks freely. `cookie`: for the answer (set-cookie). */
export type Placement = { readonly hash: bigint | undefined; readonly cookie: string | undefined }

/** Sources are combined in order; a terminal one ends the list as soon as there is a number. */
export function findPlacement(sources: readonly HashSource[], facts: HashFacts): Placement {
  let hash: bigint | undefined
  let cookie: string | undefined
  for (const source of sources) {
    let own = hashOf(source, facts)
    if (own === undefined && source.kind === 'cookie' && source.ttlSec !== undefined) {
      // The same for all requests of a connection that are under way before the client has it.
      const value = hash64(facts.connection).toString(16).padStart(16, '0')
      own = hash64(value)
      cookie = formatCookie(source.name, value, source)
    }
    if (own !== undefined) hash = hash === undefined ? own : rotateLeft(hash) ^ own
    if (source.terminal && hash !== undefined) break
  }
  return { hash, cookie }
}

/** As Envoy's makeSetCookieValue. A life of 0 is the browser's session. */
export function formatCookie(
  name: string,
  value: string,
  { ttlSec, path = '' }: { readonly ttlSec?: number | undefined; readonly path?: string | undefined },
): string {
  const life = ttlSec ? `; Max-Age=${ttlSec}` : ''
  return `${name}="${value}"${life}${path === '' ? '' : `; Path=${path}`}; HttpOnly`
}

function rotateLeft(hash: bigint): bigint {
  return BigInt.asUintN(64, hash << 1n) | (hash >> 63n)
}

function hashOf(source: HashSource, facts: HashFacts): bigint | undefined {
  switch (source.kind) {
    case 'header':
      return hashHeader(source, facts)
    case 'cookie': {
      const value = findCookie(facts.values('cookie'), source.name)
      return value ? hash64(value) : undefined
    }
    case 'query': {
      const value = queryValue(facts.path, source.name)
      return value === undefined ? undefined : hash64(value)
    }
    case 'source-ip':
      return facts.remoteIp === '' ? undefined : hash64(facts.remoteIp)
    default:
      return source satisfies never
  }
}

/** Lines of one name count whatever their order. */
function hashHeader({ name, rewrite }: Extract<HashSource, { kind: 'header' }>, facts: HashFacts): bigint | undefined {
  const found = facts.values(name)
  if (found === undefined) return undefined
  const values = (typeof found === 'string' ? [found] : found.toSorted()).map((value) =>
    rewrite ? rewrite.regex.replaceAll(value, rewrite.by) : value,
  )
  return values.reduce((seed, value) => hash64(value, seed), 0n)
}
