/** Where endpoints stand, and which are nearer (core/loadbalancer/loadbalancer.go). */
import type { LocalityLbSetting } from '../kinds/destination-rule.ts'
import type { Labels } from '../kinds/fields.ts'
import type { Json } from '../json.ts'
import { splitLocality, type Locality } from '../mesh/locality.ts'
import type { Endpoint } from '../mesh/services.ts'

/** Endpoints of one place, as they go into a load assignment. */
export type Group = {
  readonly locality: Locality
  readonly endpoints: readonly { readonly json: Json; readonly endpoint: Endpoint }[]
  priority: number
  weight: number
}

/** The mesh has it on, without settings of its own; a rule that switches it off counts. */
export function chooseLocalitySetting(setting: LocalityLbSetting | undefined): LocalityLbSetting | undefined {
  if (!setting) return {}
  return setting.enabled === false ? undefined : setting
}

export type Viewer = { readonly locality: Locality; readonly labels: Labels }

/** @param canFail whether hosts are found to be bad: otherwise nothing ever fails over */
export function applyLocality(
  groups: readonly Group[],
  setting: LocalityLbSetting | undefined,
  { viewer, canFail }: { readonly viewer: Viewer; readonly canFail: boolean },
): Group[] {
  if (!setting) return [...groups]
  if (setting.distribute) return distribute(groups, setting.distribute, viewer.locality)
  if (!canFail) return [...groups]
  const priorities = setting.failoverPriority ?? []
  if (priorities.length === 0) return failOver(groups, viewer.locality, setting.failover ?? [])
  const byLabels =
    Object.keys(viewer.labels).length === 0 ? [...groups] : splitByLabels(groups, viewer.labels, priorities)
  return setting.failover?.length ? failOver(byLabels, viewer.locality, setting.failover) : byLabels
}

function matches({ region, zone, subZone }: Locality, rule: string): boolean {
  const wanted = splitLocality(rule)
  return (
    (wanted.region === '*' || wanted.region === region) &&
    (['*', ''].includes(wanted.zone) || wanted.zone === zone) &&
    (['*', ''].includes(wanted.subZone) || wanted.subZone === subZone)
  )
}

function distribute(
  groups: readonly Group[],
  rules: NonNullable<LocalityLbSetting['distribute']>,
  from: Locality,
): Group[] {
  const rule = rules.find((r) => matches(from, r.from))
  if (!rule) return [...groups]
  const left = new Set(groups.keys())
  const weights = new Map<number, number>()
  for (const [to, share] of Object.entries(rule.to)) {
    const there = [...left].filter((i) => matches(groups[i]!.locality, to))
    const total = there.reduce((sum, i) => sum + groups[i]!.weight, 0)
    for (const i of there) {
      left.delete(i)
      const weight = (groups[i]!.weight * share) / total
      if (weight > 0) weights.set(i, Math.ceil(weight))
    }
  }
  return groups.map((g, i) => ({
    ...g,
    endpoints: left.has(i) ? [] : g.endpoints,
    weight: weights.get(i) ?? g.weight,
  }))
}

/** Farther is worse: 0 the same place, 3 another region, 4 one that is not failed over to. */
function failOver(
  groups: readonly Group[],
  from: Locality,
  rules: NonNullable<LocalityLbSetting['failover']>,
): Group[] {
  const ranked = groups.map((g) => {
    const rule = rules.find((r) => r.from === from.region)
    const near = rankLocality(from, g.locality)
    const rank = near === 3 && rule && g.locality.region !== rule.to ? 4 : near
    return { ...g, priority: g.priority * 5 + rank }
  })
  return closeGaps(ranked)
}

function rankLocality(a: Locality, b: Locality): number {
  if (a.region !== b.region) return 3
  if (a.zone !== b.zone) return 2
  return a.subZone === b.subZone ? 0 : 1
}

/** Priorities count from 0 without gaps. */
function closeGaps(groups: readonly Group[]): Group[] {
  const used = [...new Set(groups.map((g) => g.priority))].sort((a, b) => a - b)
  return groups.map((g) => ({ ...g, priority: used.indexOf(g.priority) }))
}

/** The more of the labels in front agree, the better. */
function splitByLabels(groups: readonly Group[], own: Labels, priorities: readonly string[]): Group[] {
  const wanted = priorities.map((text) => {
    const [label = '', value] = text.split('=')
    return { label, value: value ?? own[label] ?? '' }
  })
  const split = groups.flatMap((g) => {
    const rank = (e: Endpoint): number => {
      const missed = wanted.findIndex(({ label, value }) => value !== (e.labels[label] ?? ''))
      return missed < 0 ? 0 : priorities.length - missed
    }
    const byRank = Map.groupBy(g.endpoints, ({ endpoint }) => rank(endpoint))
    return [...byRank]
      .sort(([a], [b]) => a - b)
      .map(([priority, endpoints]) => ({
        ...g,
        endpoints,
        priority,
        weight: endpoints.reduce((sum, { endpoint }) => sum + (endpoint.weight || 1), 0),
      }))
  })
  return closeGaps(split)
}
