/** Header mutations by chance, of the filter and of a table, a virtual host or a route. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { chance, compact } from '../matches.ts'

const PACKAGE = 'type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3'
const ACTIONS = ['APPEND_IF_EXISTS_OR_ADD', 'ADD_IF_ABSENT', 'OVERWRITE_IF_EXISTS_OR_ADD', 'OVERWRITE_IF_EXISTS']

export const MUTATION = 'envoy.filters.http.header_mutation'
/** @param isEarly a route may be looked for behind it: Envoy finds none without x-forwarded-proto */
export function mutationFilter(dice: Dice, isEarly: boolean): JsonObject {
  const typed_config = compact({
    '@type': `${PACKAGE}.HeaderMutation`,
    mutations: mutations(dice, isEarly),
    most_specific_header_mutations_wins: chance(dice, 0.5, () => true),
  })
  return { name: MUTATION, typed_config }
}
export function mutationOverride(dice: Dice): JsonObject {
  return { [MUTATION]: { '@type': `${PACKAGE}.HeaderMutationPerRoute`, mutations: mutations(dice, true) } }
}

function mutations(dice: Dice, isEarly: boolean): JsonObject {
  return {
    request_mutations: dice.times(3, () => mutation(dice, isEarly, ['x-a', 'x-b', 'X-C'], ['new', '%REQ(x-a)%'])),
    response_mutations: dice.times(3, () =>
      mutation(dice, isEarly, ['r-a', 'r-b', 'X-D'], ['other', '%PROTOCOL%', '%REQ(x-a)%']),
    ),
  }
}
function mutation(dice: Dice, isEarly: boolean, names: readonly string[], values: readonly string[]): JsonObject {
  const kind = dice.upTo(5)
  if (kind === 0) return { remove: dice.one(names) }
  if (kind === 1)
    return { remove_on_match: { key_matcher: { prefix: dice.one(['x-a', 'r-', isEarly ? 'x-c' : 'x-']) } } }
  return {
    append: compact({
      header: { key: dice.one(names), value: dice.one(values) },
      append_action: dice.one(ACTIONS),
    }),
  }
}
