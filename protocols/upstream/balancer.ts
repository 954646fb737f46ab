/** Picks the host of the next request: Envoy's balancers over a fixed list of hosts. A new list gets a new picker. */
import type { Random } from '../../core/os/clock.ts'
import type { Balancer } from '../../model/cluster.ts'
import type { Host, Picker } from './host.ts'
import { createHashPicker, computeWeights } from './hash-balancers.ts'

export function createPicker(balancer: Balancer, hosts: readonly Host[], random: Random): Picker {
  if (hosts.length === 0) return () => undefined
  if (hosts.length === 1) return () => hosts[0]
  switch (balancer.kind) {
    case 'round-robin':
      return roundRobin(hosts, random)
    case 'random':
      return () => hosts[Math.floor(random.float() * hosts.length)]
    case 'least-request':
      return leastRequest(hosts, balancer.choices, random)
    case 'ring-hash':
    case 'maglev':
      return createHashPicker(balancer, computeWeights(hosts), random)
    default:
      return balancer satisfies never
  }
}

/**
 * In turn, beginning somewhere, so that a fleet does not start at one host; by weight in the smooth way (nginx's): a a
 * b, not a a a … b.
 */
function roundRobin(hosts: readonly Host[], random: Random): Picker {
  let at = Math.floor(random.float() * hosts.length)
  if (hosts.every((h) => h.weight === hosts[0]!.weight))
    return () => {
      at = at + 1 === hosts.length ? 0 : at + 1
      return hosts[at]
    }
  const current = hosts.map(() => 0)
  const total = hosts.reduce((sum, h) => sum + h.weight, 0)
  return () => {
    let best = 0
    for (let i = 0; i < hosts.length; i++) {
      current[i]! += hosts[i]!.weight
      if (current[i]! > current[best]!) best = i
    }
    current[best]! -= total
    return hosts[best]
  }
}

/** The least busy of some drawn at random; weights count as in Envoy: weight / (active + 1). */
function leastRequest(hosts: readonly Host[], choices: number, random: Random): Picker {
  return () => {
    let best: Host | undefined
    for (let i = 0; i < Math.max(1, choices); i++) {
      const host = hosts[Math.floor(random.float() * hosts.length)]!
      if (!best || (host.active.now + 1) * best.weight < (best.active.now + 1) * host.weight) best = host
    }
    return best
  }
}
