/**
 * Which priority level and which locality the next request goes to, after Envoy's "Priority levels", "Panic threshold"
 * and "Locality weighted load balancing". Shares are exact; Envoy rounds to whole percents.
 */
import type { Random } from '../../core/os/clock.ts'
import type { Balancer } from '../../model/cluster.ts'
import { hashPicker, createPicker } from './balancer.ts'
import type { Host, Picker, Weighed } from './host.ts'

/** Envoy's overprovisioning factor 140 %: a level or locality of which 72 % are fit still takes all of its share. */
const OVERPROVISIONING = 1.4

export type LevelCount = { readonly all: number; readonly fit: number }
/**
 * `inPanic`: everybody of the level serves, since most health data must be wrong. `load`: 0..1; all levels together 1,
 * or 0 when nobody can serve.
 */
export type LevelShare = { readonly load: number; readonly inPanic: boolean }

/**
 * The first level takes what it can, the next ones the rest.
 * @param panicPercent 0..100 (healthy_panic_threshold); 0 = no panic
 */
export function computeShares(levels: readonly LevelCount[], panicPercent: number): LevelShare[] {
  const health = levels.map(availability)
  const total = Math.min(
    1,
    health.reduce((sum, h) => sum + h, 0),
  )
  // As long as all of the load finds somebody fit, there is no panic.
  const panics = levels.map(({ all, fit }) => total < 1 && fit * 100 < panicPercent * all)
  const hosts = levels.reduce((sum, { all }) => sum + all, 0)
  if (hosts > 0 && levels.every(({ all }, i) => panics[i] || all === 0))
    return levels.map(({ all }) => ({ load: all / hosts, inPanic: true }))
  let left = 1
  return health.map((h, i) => {
    const load = total === 0 ? 0 : Math.min(left, h / total)
    left -= load
    return { load, inPanic: panics[i]! }
  })
}

/**
 * One locality of a level: who of it is fit, of how many, and its load_balancing_weight; 0 = gets nothing (none was
 * said).
 */
export type LocalityHosts = { readonly fit: readonly Host[]; readonly all: number; readonly weight: number }

/**
 * With locality_weighted_lb_config: each locality gets its weight's share, less where hosts are missing. Without any
 * weight they are one.
 */
export function createLocalityPicker(balancer: Balancer, localities: readonly LocalityHosts[], random: Random): Picker {
  const used = localities
    .map((l) => ({ ...l, share: l.weight * availability({ all: l.all, fit: l.fit.length }) }))
    .filter((l) => l.share > 0)
  if (used.length === 0) return createPicker(balancer, [...new Set(localities.flatMap((l) => l.fit))], random)
  if (balancer.kind === 'ring-hash' || balancer.kind === 'maglev')
    return hashPicker(balancer, used.flatMap(weighed), random)
  const choose = chooseLocality(used.map(({ fit, share }) => ({ share, pick: createPicker(balancer, fit, random) })))
  return (hash) => choose(random.float())(hash)
}

/** Of several pickers, by their share. @returns what takes a number of 0..1, uniform */
export function chooseLocality(
  of: readonly { readonly share: number; readonly pick: Picker }[],
): (at: number) => Picker {
  const total = of.reduce((sum, { share }) => sum + share, 0)
  return (at) => {
    let left = at * total
    for (const { share, pick } of of) if ((left -= share) < 0) return pick
    return of.at(-1)?.pick ?? (() => undefined)
  }
}

function availability({ all, fit }: LevelCount): number {
  return all === 0 ? 0 : Math.min(1, (OVERPROVISIONING * fit) / all)
}

/** Hash balancers place every host by its part of its locality's weight (Envoy's thread aware balancers). */
function weighed({ fit, weight }: LocalityHosts): Weighed[] {
  const total = fit.reduce((sum, h) => sum + h.weight, 0)
  return fit.map((host) => ({ host, weight: (host.weight * weight) / total }))
}
