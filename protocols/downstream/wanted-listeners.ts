/**
 * Which listener each open port gets: what was pushed, and before it agent.yaml's own. Pure, but for remembering what
 * it made.
 */
import type { Listener } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'

/**
 * A pushed listener has no say against one of agent.yaml with its name. For the explicit proxy istiod sends a listener
 * too (HTTP_PROXY_PORT), with filters that agent.yaml cannot name, such as fault injection: on the same address and for
 * the same routes agent.yaml's takes over what that one does, and there is one port. So it is with tunnels (ENABLE_HBONE).
 */
export function selectListeners({ listeners }: Tables, own: readonly Listener[]): Map<string, Listener> {
  const pushed = new Map([...listeners].filter(([, l]) => l.bindToPort))
  const wanted = new Map<string, Listener>()
  for (const listener of own) {
    const kind = findKind(listener)
    const same =
      kind === undefined
        ? undefined
        : [...pushed.values()].find(
            (l) => l.address === listener.address && l.port === listener.port && (findKind(l) === kind || isBlocked(l)),
          )
    if (same) pushed.delete(same.name)
    wanted.set(listener.name, same ? named(same, listener.name) : listener)
  }
  // In this order their ports are opened.
  for (const [name, listener] of pushed) if (!wanted.has(name)) wanted.set(name, listener)
  return wanted
}

/** Pushed listeners with a port of their own that are not served because one of agent.yaml has their name. */
export function findShadowedListeners(tables: Tables, own: readonly Listener[]): readonly Listener[] {
  const wanted = selectListeners(tables, own)
  return own.flatMap(({ name }) => {
    const pushed = tables.listeners.get(name)
    // What agent.yaml's takes over has the same chains.
    return pushed?.bindToPort && wanted.get(name)?.filterChains !== pushed.filterChains ? [pushed] : []
  })
}

/**
 * What one of agent.yaml and a pushed one may have in common: the route table of an explicit HTTP proxy, or that tunnels
 * end there. Undefined for anything else, and for more than one chain.
 */
function findKind({ filterChains, defaultFilterChain }: Listener): string | undefined {
  const [chain, ...more] = defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains
  if (more.length > 0) return undefined
  if (chain?.codec.kind === 'hbone') return 'tunnels'
  if (chain?.codec.kind !== 'http') return undefined
  const { explicitProxy, routes } = chain.codec.http
  return explicitProxy && routes.from === 'rds' ? `proxy ${routes.name}` : undefined
}

/**
 * One that refuses everybody for something that cannot be taken takes over all the same: agent.yaml's would serve
 * without what could not be taken.
 */
function isBlocked({ filterChains, defaultFilterChain }: Listener): boolean {
  const chains = defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains
  return chains.length > 0 && chains.every((c) => c.codec.kind === 'blocked')
}

/**
 * One copy for each pushed listener: an unchanged one must stay the same object, so that its connections are left
 * alone.
 */
const copies = new WeakMap<Listener, Listener>()
function named(pushed: Listener, name: string): Listener {
  const known = copies.get(pushed)
  if (known?.name === name) return known
  const copy = { ...pushed, name }
  copies.set(pushed, copy)
  return copy
}
