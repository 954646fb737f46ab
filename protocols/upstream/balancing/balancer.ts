/** Picks the host of the next request: Envoy's balancers over a fixed list of hosts. A new list gets a new picker. */
import type { Random } from '../../../core/os/clock.ts'
import type { Balancer, SlowStart } from '../../../model/cluster.ts'
import type { Host, Picker } from '../host.ts'
import { createHashPicker, computeWeights } from './hash-balancers.ts'

/** What pickers ask beside hosts. */
export type Chances = { readonly random: Random; readonly nowMs: () => number }

export function createPicker(balancer: Balancer, hosts: readonly Host[], { random, nowMs }: Chances): Picker {
  if (hosts.length === 0) return () => undefined
  if (hosts.length === 1) return () => hosts[0]
  switch (balancer.kind) {
    case 'round-robin':
      return warmUp(balancer.slowStart, hosts, {
        nowMs,
        usual: roundRobin(hosts, random),
        weightOf: (host) => host.weight,
      })
    case 'random':
      return () => hosts[Math.floor(random.float() * hosts.length)]
    case 'least-request':
      return warmUp(balancer.slowStart, hosts, {
        nowMs,
        usual: leastRequest(hosts, balancer.choices, random),
        weightOf: (host) => host.weight / (host.active.now + 1),
      })
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
  return byWeight(hosts, (host) => host.weight)
}

/** @param weightOf may be another one at each pick */
function byWeight(hosts: readonly Host[], weightOf: (host: Host) => number): Picker {
  const current = hosts.map(() => 0)
  return () => {
    let best = 0
    let total = 0
    for (let i = 0; i < hosts.length; i++) {
      const weight = weightOf(hosts[i]!)
      total += weight
      current[i]! += weight
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

/** While one of the hosts is new, all are taken by weights in which it has a part of its own. */
function warmUp(
  slowStart: SlowStart | undefined,
  hosts: readonly Host[],
  {
    nowMs,
    usual,
    weightOf,
  }: { readonly nowMs: () => number; readonly usual: Picker; readonly weightOf: (host: Host) => number },
): Picker {
  if (!slowStart) return usual
  const untilMs = Math.max(...hosts.map((h) => h.sinceMs)) + slowStart.windowMs
  let now = 0
  const slowly = byWeight(hosts, (host) => weightOf(host) * computeWarmth(slowStart, now - host.sinceMs))
  return (hash) => {
    now = nowMs()
    return now >= untilMs ? usual(hash) : slowly(hash)
  }
}

/** 0..1 */
function computeWarmth({ windowMs, aggression, minPercent }: SlowStart, ageMs: number): number {
  if (ageMs >= windowMs) return 1
  return Math.max(minPercent / 100, (Math.max(1, ageMs) / windowMs) ** (1 / aggression))
}
