/** envoy.extensions.filters.http.header_mutation.v3: changes of headers by a filter, of a listener or of a route. */
import type { HeaderEdit, Mutations } from '../../model/route.ts'
import type { HeaderMutation as XMutation } from '../../proto/gen/envoy/config/common/mutation_rules/v3/mutation_rules_pb.ts'
import {
  MutationsSchema,
  type Mutations as XMutations,
} from '../../proto/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts'
import { refuse, type DecodePath } from './fields/decode-path.ts'
import { decodeStringMatch } from './fields/matchers.ts'
import { decodeHeaderAdd, decodeHeaderName } from './route/header-changes.ts'

export function decodeMutations(at: DecodePath, from: XMutations | undefined): Mutations {
  refuse(at, MutationsSchema, from)
  return {
    request: edits(at.in('request_mutations'), from?.requestMutations ?? []),
    response: edits(at.in('response_mutations'), from?.responseMutations ?? []),
  }
}

/** One after the other, each sees what the ones before have done. */
function edits(at: DecodePath, from: readonly XMutation[]): readonly HeaderEdit[] {
  return from.flatMap((mutation, i) => edit(at.item(i), mutation) ?? [])
}

function edit(at: DecodePath, { action: by }: XMutation): HeaderEdit | undefined {
  switch (by.case) {
    case 'remove': {
      const name = decodeHeaderName(at.in('remove'), by.value)
      return name === undefined ? undefined : { remove: [name], add: [] }
    }
    case 'append': {
      const add = decodeHeaderAdd(at.in('append'), by.value)
      return add && { remove: [], add: [add] }
    }
    case 'removeOnMatch': {
      const matching = decodeStringMatch(at.in('remove_on_match').in('key_matcher'), by.value.keyMatcher)
      return matching && { remove: [], add: [], removeMatching: matching }
    }
    case undefined:
      at.issue('has no action that meshlet knows')
      return undefined
    default:
      return by satisfies never
  }
}
