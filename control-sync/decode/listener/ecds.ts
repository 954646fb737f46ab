/** Filters whose configuration comes as a resource of its own (envoy.config.core.v3.ExtensionConfigSource, ECDS). */
import { fromBinary } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import type { ExtensionConfigSource } from '../../../proto/gen/envoy/config/core/v3/config_source_pb.ts'
import { TypedExtensionConfigSchema } from '../../../proto/gen/envoy/config/core/v3/extension_pb.ts'
import { readTypeName } from '../fields/any.ts'
import type { DecodePath } from '../fields/decode-path.ts'

type Configured = {
  readonly name: string
  readonly configType:
    | { readonly case: 'typedConfig'; readonly value: Any }
    | { readonly case: 'configDiscovery'; readonly value: ExtensionConfigSource }
    | { readonly case: undefined; readonly value?: undefined }
}

/**
 * @returns undefined for a filter without a configuration, or one whose configuration has not come and that has no
 * default.
 */
export function findConfig(at: DecodePath, { name, configType: by }: Configured): Any | undefined {
  switch (by.case) {
    case 'typedConfig':
      return by.value
    case 'configDiscovery':
      return discovered(at.in('config_discovery'), name, by.value)
    case undefined:
      return undefined
    default:
      return by satisfies never
  }
}

/** Why a filter without a usable configuration is one, for the reason that a person reads. */
export function blockUnconfigured({ name, configType }: Configured): string {
  return configType.case === 'configDiscovery' ? `${name}, whose configuration (ECDS) has not come,` : name
}

function discovered(at: DecodePath, name: string, source: ExtensionConfigSource): Any | undefined {
  const bytes = at.extension(name)
  const any = bytes && fromBinary(TypedExtensionConfigSchema, bytes).typedConfig
  if (!any) return source.defaultConfig
  const allowed = source.typeUrls.map((url) => url.slice(url.lastIndexOf('/') + 1))
  if (allowed.includes(readTypeName(any))) return any
  at.in('type_urls').ignore(`${readTypeName(any)} came, which is not among them`)
  return source.defaultConfig
}
