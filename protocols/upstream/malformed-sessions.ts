/**
 * Sessions of node:http2 that must not be collected. nghttp2 does not give back what a head holds that HTTP/2 does not permit, and node:http2 ends
 * the process when it finds that at the collection of the session ("Assertion failed: (current_nghttp2_memory_) == (0)"). So the native half of a
 * session on which an endpoint sent one stays reachable for good. An endpoint has only so many of them; then it is asked nothing over HTTP/2 any more.
 */
import type http2 from 'node:http2'
import { MeshError } from '../../agent/core/errors.ts'
import type { Endpoint } from '../../agent/model/cluster.ts'

export const MAX_OF_ONE = 64
/** Some tens of kilobytes each. */
export const MAX_KEPT = 512

const kept = new Set<object>()
const byEndpoint = new Map<string, number>()

export function keptSessions(): number { return kept.size }

/** Node keeps it under a symbol of its own, until the session is destroyed: asked for while that is not so. Undefined where a Node has it elsewhere. */
export function nativeHalf(session: http2.Http2Session): object | undefined {
  const symbol = Object.getOwnPropertySymbols(session).find((s) => s.description === 'kHandle')
  return symbol && (session as unknown as Record<symbol, object | undefined>)[symbol]
}

export function keepForGood(half: object, { address, port }: Endpoint): void {
  if (kept.has(half)) return
  kept.add(half)
  const endpoint = `${address}:${port}`
  byEndpoint.set(endpoint, (byEndpoint.get(endpoint) ?? 0) + 1)
}

/** Throws MESH_UPSTREAM_PROTOCOL for one that has had its share, or had any when all are used up. */
export function checkEndpoint({ address, port }: Endpoint): void {
  const own = byEndpoint.get(`${address}:${port}`) ?? 0
  if (own >= MAX_OF_ONE || (own > 0 && kept.size >= MAX_KEPT)) {
    throw new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint ${address}:${port} has broken HTTP/2 on ${own} connections and is asked nothing over it until the agent starts anew`)
  }
}
