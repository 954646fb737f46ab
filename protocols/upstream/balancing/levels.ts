/**
 * Which priority level and which locality the next request goes to, after Envoy's "Priority levels", "Panic threshold",
 * "Degraded endpoints" and "Locality weighted load balancing". Loads are whole percents, as in Envoy, so that requests
 * with a hash fall into the same level.
 */
import type { Balancer } from '../../../model/cluster.ts'
import { createPicker, type Chances } from './balancer.ts'
import { createHashPicker, computeWeights } from './hash-balancers.ts'
import type { Host, Picker } from '../host.ts'

/** Envoy's overprovisioning factor 140 %: a level or locality of which 72 % are fit still takes all of its share. */
const OVERPROVISIONING = 140

/** `present`: with those of whom nobody expects anything, where there are some (Envoy's excluded hosts). */
export type LevelCount = {
  readonly all: number
  readonly fit: number
  readonly degraded?: number
  readonly present?: number
}
/**
 * `inPanic`: everybody of the level serves, since most health data must be wrong. `load` and `degradedLoad`: percent;
 * all levels together 100, or 0 when nobody can serve.
 */
export type LevelShare = { readonly load: number; readonly degradedLoad: number; readonly inPanic: boolean }

/**
 * The first level takes what it can, the next ones the rest; healthy hosts of all levels come before degraded ones.
 * @param panicPercent 0..100 (healthy_panic_threshold); 0 = no panic
 */
export function computeShares(levels: readonly LevelCount[], panicPercent: number): LevelShare[] {
  const healths = levels.map(({ all, fit }) => availablePercent(fit, all))
  const degradeds = levels.map(({ all, degraded = 0 }) => availablePercent(degraded, all))
  const total = Math.min(
    100,
    [...healths, ...degradeds].reduce((sum, n) => sum + n, 0),
  )
  // As long as all of the load finds somebody fit, there is no panic.
  const panics = levels.map(
    ({ all, fit, degraded = 0 }) =>
      total < 100 && panicPercent > 0 && (all === 0 || ((fit + degraded) * 100) / all < panicPercent),
  )
  if (levels.length > 0 && panics.every(Boolean)) return shareInPanic(levels)
  const loads = distribute(healths, 100, total)
  const degradedLoads = distribute(degradeds, loads.left, total)
  // What rounding leaves goes to the first level that has anybody.
  const first = healths.findIndex((n) => n > 0)
  if (first >= 0) loads.of[first]! += degradedLoads.left
  else {
    const firstDegraded = degradeds.findIndex((n) => n > 0)
    if (firstDegraded >= 0) degradedLoads.of[firstDegraded]! += degradedLoads.left
  }
  return levels.map((_, i) => ({ load: loads.of[i]!, degradedLoad: degradedLoads.of[i]!, inPanic: panics[i]! }))
}

function distribute(availables: readonly number[], all: number, total: number): { of: number[]; left: number } {
  let left = all
  const of = availables.map((available) => {
    const load = total === 0 ? 0 : Math.min(left, Math.floor((available * 100) / total))
    left -= load
    return load
  })
  return { of, left }
}

/** By the number of their hosts, whoever is fit. */
function shareInPanic(levels: readonly LevelCount[]): LevelShare[] {
  const counts = levels.map(({ all, present = all }) => present)
  const hosts = counts.reduce((sum, n) => sum + n, 0)
  if (hosts === 0) return levels.map(() => ({ load: 0, degradedLoad: 0, inPanic: false }))
  const loads = counts.map((n) => Math.floor((100 * n) / hosts))
  loads[counts.findIndex((n) => n > 0)]! += 100 - loads.reduce((sum, n) => sum + n, 0)
  return loads.map((load) => ({ load, degradedLoad: 0, inPanic: true }))
}

/** One of some parts of a hundred; of none the last. @param at 0..99 */
export function chooseByPercent<T>(parts: readonly { readonly percent: number; readonly of: T }[], at: number): T {
  let sum = 0
  for (const { percent, of } of parts) if (at < (sum += percent)) return of
  return parts.at(-1)!.of
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
export function createLocalityPicker(
  balancer: Balancer,
  localities: readonly LocalityHosts[],
  chances: Chances,
): Picker {
  const used = localities
    .map((l) => ({ ...l, share: l.weight * availability(l.fit.length, l.all) }))
    .filter((l) => l.share > 0)
  if (used.length === 0) return createPicker(balancer, [...new Set(localities.flatMap((l) => l.fit))], chances)
  if (balancer.kind === 'ring-hash' || balancer.kind === 'maglev') {
    // Hash balancers place every host by its part of its locality's weight, however many of the locality are fit.
    const total = localities.reduce((sum, { weight }) => sum + weight, 0)
    return createHashPicker(
      balancer,
      used.flatMap(({ fit, weight }) => computeWeights(fit, weight / total)),
      chances.random,
    )
  }
  const shares = used.reduce((sum, { share }) => sum + share, 0)
  const pickers = used.map(({ fit, share }) => ({ share, pick: createPicker(balancer, fit, chances) }))
  return (hash) => {
    let left = chances.random.float() * shares
    for (const { share, pick } of pickers) if ((left -= share) < 0) return pick(hash)
    return pickers.at(-1)?.pick(hash)
  }
}

function availability(some: number, all: number): number {
  return all === 0 ? 0 : Math.min(1, (OVERPROVISIONING * some) / all / 100)
}
function availablePercent(some: number, all: number): number {
  return all === 0 ? 0 : Math.min(100, Math.floor((OVERPROVISIONING * some) / all))
}
