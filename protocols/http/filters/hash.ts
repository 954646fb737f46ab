/** The number that hash balancers (ring-hash, maglev) place a request with (envoy RouteAction.HashPolicy). Pure. */
import type { HashSource } from '../../../model/route.ts'
import { queryValue } from '../../router.ts'
import { findCookie } from './cookie.ts'

export type HashFacts = {
  /** Request header, lower-case name. */
  header(name: string): string | undefined
  /** With query. */
  readonly path: string
  readonly remoteIp: string
}

/**
 * @returns 32 bits, or undefined when no source is present in the request: the balancer then picks freely. Sources are
 * combined in
 *   order; a terminal one that is present ends the list.
 */
export function hashRequest(sources: readonly HashSource[], facts: HashFacts): number | undefined {
  let hash: number | undefined
  for (const source of sources) {
    const text = textOf(source, facts)
    if (text !== undefined)
      hash = hash === undefined ? hash32(text) : (((hash << 1) | (hash >>> 31)) ^ hash32(text)) >>> 0
    if (source.terminal && text !== undefined) return hash
  }
  return hash
}

/** FNV-1a over UTF-16 code units with murmur3's finish: short keys that differ in one character land far apart. */
export function hash32(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function textOf(source: HashSource, facts: HashFacts): string | undefined {
  switch (source.kind) {
    case 'header':
      return facts.header(source.name)
    case 'cookie':
      return findCookie(facts.header('cookie'), source.name)
    case 'query':
      return queryValue(facts.path, source.name)
    case 'source-ip':
      return facts.remoteIp
    default:
      return source satisfies never
  }
}
