/** A TypedStruct whose inner type we know is that message: EnvoyFilters of Istio's own tasks are written so. */
import { fromJson, toBinary } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { loadRegistry } from '../../../proto/registry.ts'
import { unpackStruct } from './any.ts'
import type { DecodePath } from './decode-path.ts'

/** Everything else is returned as it is. Fields that our protos do not have are an issue: they could not be told later. */
export function resolveStruct(at: DecodePath, any: Any | undefined): Any | undefined {
  const struct = unpackStruct(at, any)
  const schema = struct && loadRegistry().getMessage(struct.type)
  if (!any || !schema) return any
  try {
    const message = fromJson(schema, struct.value, { registry: loadRegistry() })
    return { ...any, typeUrl: `type.googleapis.com/${struct.type}`, value: toBinary(schema, message) }
  } catch (err) {
    at.issue(`is no ${struct.type}: ${err instanceof Error ? err.message.slice(0, 200) : String(err)}`)
    return any
  }
}
