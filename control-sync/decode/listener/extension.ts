/** envoy.config.core.v3.TypedExtensionConfig: the configuration of a filter, as a resource of its own (ECDS). */
import { create } from '@bufbuild/protobuf'
import type { TypedExtensionConfig } from '../../../proto/gen/envoy/config/core/v3/extension_pb.ts'
import { HttpFilterSchema } from '../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { RBACSchema } from '../../../proto/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts'
import { readEffectiveType, unpack } from '../fields/any.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeHttpFilter } from './http.ts'
import { decodePolicy } from '../policy.ts'

/** `type`: what the extension configures. */
export type Extension = { readonly name: string; readonly type: string }

/** Decoded as the filter that it will be, so that a mistake in it is refused when it comes. */
export function decodeExtension(at: DecodePath, from: TypedExtensionConfig): Extension {
  if (from.name === '') at.in('name').issue('is missing')
  const here = at.in('typed_config')
  if (!from.typedConfig) {
    here.issue('is missing')
    return { name: from.name, type: '' }
  }
  const rbac = unpack(here, from.typedConfig, RBACSchema)
  if (rbac) decodePolicy(here, rbac)
  else
    decodeHttpFilter(
      at,
      create(HttpFilterSchema, { name: from.name, configType: { case: 'typedConfig', value: from.typedConfig } }),
      'skips',
    )
  return { name: from.name, type: readEffectiveType(here, from.typedConfig) }
}
