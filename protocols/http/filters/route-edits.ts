/** Which header changes of a route table a request and its answer get. */
import type { HttpFilter } from '../../../model/listener.ts'
import type { HeaderEdit, Mutations, RouteConfig, RouteFilter } from '../../../model/route.ts'
import type { RouteTable } from '../../../model/tables.ts'
import { TO_HTTPS, type Routed } from '../../router.ts'

export const NO_EDITS: readonly HeaderEdit[] = []

/* Weighted cluster, route, virtual host, table: Envoy's order. */

export function collectRequestEdits(
  { config }: RouteTable,
  { route, virtualHost }: Routed,
  cluster: HeaderEdit | undefined,
): readonly HeaderEdit[] {
  return inOrder(config, [cluster, route.headers.request, virtualHost.headers.request, config.headers.request])
}
export function collectResponseEdits(
  { config }: RouteTable,
  { route, virtualHost }: Routed,
  cluster: HeaderEdit | undefined,
): readonly HeaderEdit[] {
  if (route === TO_HTTPS) return NO_EDITS
  return inOrder(config, [cluster, route.headers.response, virtualHost.headers.response, config.headers.response])
}
/** @param levels the nearest one first, which is the order in which they apply unless the table says otherwise */
function inOrder(
  { nearestWins }: Pick<RouteConfig, 'nearestWins'>,
  levels: readonly (HeaderEdit | undefined)[],
): readonly HeaderEdit[] {
  let edits = NO_EDITS
  for (const edit of levels)
    if (edit && (edit.remove.length > 0 || edit.add.length > 0))
      edits = nearestWins ? [edit, ...edits] : [...edits, edit]
  return edits
}

/** Of the filter at that place, for every answer. */
export type AnswerEdit = { readonly at: number; readonly edit: HeaderEdit }

/**
 * Header mutations of filters. The router, which is last, makes the route's own changes to requests; answers, whoever
 * gives them, go back through all filters from the last one to the first.
 * @param added what filters of other kinds do to the answer
 */
export function collectMutations(
  filters: readonly HttpFilter[],
  routed: Routed | undefined,
  added: readonly AnswerEdit[] = [],
): { readonly request: readonly HeaderEdit[]; readonly response: readonly HeaderEdit[] } {
  let [request, response] = [NO_EDITS, NO_EDITS]
  for (const [i, filter] of filters.entries()) {
    if (filter.kind !== 'mutation') {
      for (const { at, edit } of added) if (at === i) response = [edit, ...response]
      continue
    }
    const own = routed?.route.filters?.get(filter.name)
    if (own ? own.off : filter.off) continue
    const all = listMutations(filter, own)
    // Others were made when the filter was passed.
    if (!filter.isEarly) request = [...request, ...all.flatMap((m) => m.request)]
    response = [...all.flatMap((m) => m.response), ...response]
  }
  return { request, response }
}

/** The filter's own, and those of the route, in the order in which they apply. */
export function listMutations(
  { mutations, nearestWins }: Extract<HttpFilter, { kind: 'mutation' }>,
  own: RouteFilter | undefined,
): readonly Mutations[] {
  const levels = own?.mutations ?? []
  return [mutations, ...(nearestWins ? levels : levels.toReversed())]
}
