/** envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat → HeaderCase. */
import type { HeaderCase } from '../../model/http/header-case.ts'
import type { Http1ProtocolOptions } from '../../proto/gen/envoy/config/core/v3/protocol_pb.ts'
import {
  PreserveCaseFormatterConfig_FormatterTypeOnEnvoyHeaders as Others,
  PreserveCaseFormatterConfigSchema,
} from '../../proto/gen/envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case_pb.ts'
import { unpack } from './fields/any.ts'
import { noteIgnored, type DecodePath } from './fields/decode-path.ts'

/** @param at of the options */
export function decodeHeaderCase(
  at: DecodePath,
  from: Http1ProtocolOptions | undefined,
): { readonly headerCase?: HeaderCase } {
  const format = from?.headerKeyFormat?.headerFormat
  if (!format?.case) return {}
  if (format.case === 'properCaseWords') return { headerCase: { kind: 'proper' } }
  const here = at.in('header_key_format').in('stateful_formatter').in('typed_config')
  const config = unpack(here, format.value.typedConfig, PreserveCaseFormatterConfigSchema)
  if (!config) {
    here.ignore('names of fields are written in lower case')
    return {}
  }
  noteIgnored(here, PreserveCaseFormatterConfigSchema, config)
  const others = config.formatterTypeOnEnvoyHeaders === Others.PROPER_CASE ? 'proper' : 'lower'
  return { headerCase: { kind: 'preserve', others } }
}
