/** Names of hosts with wildcards in front (pkg/config/host). */

export const isWildcard = (host: string): boolean => host.startsWith('*')

/** Whether two names have anything in common. */
export function overlaps(a: string, b: string): boolean {
  if (isWildcard(a)) {
    if (!isWildcard(b)) return b.endsWith(a.slice(1))
    return a.length < b.length ? b.slice(1).endsWith(a.slice(1)) : a.slice(1).endsWith(b.slice(1))
  }
  return isWildcard(b) ? a.endsWith(b.slice(1)) : a === b
}

/** Whether `outer` has all that `inner` has. */
export function isWithin(inner: string, outer: string): boolean {
  if (isWildcard(inner))
    return isWildcard(outer) && inner.length >= outer.length && inner.slice(1).endsWith(outer.slice(1))
  return isWildcard(outer) ? inner.endsWith(outer.slice(1)) : inner === outer
}

/** The entry of the most specific host that covers `host` (model/config.go MostSpecificHostMatch). */
export function findMostSpecific<T>(
  host: string,
  exact: ReadonlyMap<string, T>,
  wild: ReadonlyMap<string, T>,
): T | undefined {
  const own = (isWildcard(host) ? wild : exact).get(host)
  if (own !== undefined) return own
  const needle = isWildcard(host) ? host.slice(1) : host
  let best: string | undefined
  for (const candidate of wild.keys())
    if (needle.endsWith(candidate.slice(1)) && (best === undefined || candidate.length > best.length)) best = candidate
  return best === undefined ? undefined : wild.get(best)
}
