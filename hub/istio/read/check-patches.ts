/** Whether what an EnvoyFilter brings is a message of Envoy. */
import { fromJson, type JsonValue } from '@bufbuild/protobuf'
import { explainJson, findJsonProblems } from '../../../control-sync/directory/text/locate.ts'
import { findSchema } from '../encode/encode.ts'
import { loadMessages } from '../encode/messages.ts'
import type { EnvoyFilter, EnvoyPatch } from '../kinds/envoy-filter.ts'

/** `path` below the object. */
export type Mistake = { readonly path: readonly PropertyKey[]; readonly problem: string }

export function findPatchMistakes({ configPatches }: EnvoyFilter): Mistake[] {
  return configPatches.flatMap((patch, i) =>
    checkPatch(patch).map(({ field, problem }) => ({
      path: ['spec', 'configPatches', i, 'patch', 'value', ...splitField(field)],
      problem,
    })),
  )
}

/** filter_chains[0].filters → filter_chains, 0, filters. */
function splitField(field: string): PropertyKey[] {
  return [...field.matchAll(/\[(\d+)\]|[^.[\]]+/g)].map(([all, index]) => (index === undefined ? all : Number(index)))
}

function checkPatch({ applyTo, patch }: EnvoyPatch): { readonly field: string; readonly problem: string }[] {
  const registry = loadMessages()
  const schema =
    applyTo === 'LISTENER' ? findSchema('listener') : registry.getMessage('envoy.config.listener.v3.Filter')!
  try {
    fromJson(schema, patch.value as JsonValue, { registry })
    return []
  } catch (err) {
    const found = findJsonProblems(schema, patch.value as JsonValue, { registry })
    return found.length > 0 ? found : [{ field: '', problem: explainJson(err) }]
  }
}
