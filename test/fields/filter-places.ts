/** Where messages of filters that change answers and bodies stand. */
import type { JsonObject } from '@bufbuild/protobuf'
import { any, list, part, type Place } from './place.ts'

const STATUS = { status_code_filter: { comparison: { op: 'EQ', value: { default_value: 9, runtime_key: 'k' } } } }
const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3'

const FILTERS = 'envoy.extensions.filters.http'
const COMPRESSION = 'envoy.extensions.compression'
const COMPRESSOR = `${FILTERS}.compressor.v3`
const GZIP = `${COMPRESSION}.gzip.compressor.v3.Gzip`
const ROUTER = { name: 'router', typed_config: any(`${FILTERS}.router.v3.Router`, {}) }
const LIBRARY = { compressor_library: { name: 'l', typed_config: any(GZIP, {}) } }

function placesOfBodies(hcm: Place, route: Place): readonly Place[] {
  const filter = (type: string, base: JsonObject): Place =>
    part(hcm, type, base, (m) => ({ http_filters: [{ name: 'f', typed_config: any(type, m) }, ROUTER] }))
  const perRoute = (type: string, base: JsonObject): Place =>
    part(route, type, base, (m) => ({ typed_per_filter_config: { f: any(type, m) } }))
  const compressor = filter(`${COMPRESSOR}.Compressor`, LIBRARY)
  const response = part(compressor, `${COMPRESSOR}.Compressor.ResponseDirectionConfig`, {}, (m) => ({
    response_direction_config: m,
  }))
  const overrides = perRoute(`${COMPRESSOR}.CompressorPerRoute`, { overrides: {} })
  const library = (name: string, message: string): Place => {
    const type = `${COMPRESSION}.${name}.compressor.v3.${message}`
    return part(compressor, type, {}, (m) => ({ compressor_library: { name: 'l', typed_config: any(type, m) } }))
  }
  return [
    filter(`${FILTERS}.health_check.v3.HealthCheck`, { pass_through_mode: true }),
    filter(`${FILTERS}.buffer.v3.Buffer`, { max_request_bytes: 9 }),
    perRoute(`${FILTERS}.buffer.v3.BufferPerRoute`, { buffer: { max_request_bytes: 9 } }),
    compressor,
    response,
    part(response, `${COMPRESSOR}.Compressor.CommonDirectionConfig`, {}, (m) => ({ common_config: m })),
    overrides,
    part(overrides, `${COMPRESSOR}.CompressorOverrides`, {}, (m) => ({ overrides: m })),
    library('gzip', 'Gzip'),
    library('brotli', 'Brotli'),
    library('zstd', 'Zstd'),
  ]
}

export function placesOfFilters({
  hcm,
  route,
  action,
}: Readonly<Record<'hcm' | 'route' | 'action', Place>>): readonly Place[] {
  const reply = part(hcm, `${HCM}.LocalReplyConfig`, {}, (m) => ({ local_reply_config: m }))
  return [
    ...placesOfBodies(hcm, route),
    part(action, 'envoy.config.route.v3.InternalRedirectPolicy', {}, (m) => ({ internal_redirect_policy: m })),
    reply,
    part(reply, `${HCM}.ResponseMapper`, { filter: STATUS }, (m) => ({ mappers: list(m) })),
  ]
}
