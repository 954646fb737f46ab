/**
 * What a configuration asks for and meshlet leaves out, in a person's words: `meshlet status` shows them. By type of
 * extension, and by the field of a message; names of fields that our protos do not have count as well. Everything else
 * that is left out is listed by its path (`ignored`).
 */
const EXTENSIONS: Readonly<Record<string, string>> = {
  'envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor': 'external processors are not asked (ext_proc)',
  'envoy.extensions.filters.http.oauth2.v3.OAuth2': 'nobody is asked to log in (oauth2)',
  'envoy.extensions.filters.http.lua.v3.Lua': 'Lua scripts do not run',
  'envoy.extensions.filters.http.lua.v3.LuaPerRoute': 'Lua scripts do not run',
  'envoy.extensions.filters.http.wasm.v3.Wasm': 'Wasm extensions do not run',
  'envoy.extensions.filters.network.wasm.v3.Wasm': 'Wasm extensions do not run',
  'envoy.extensions.filters.listener.original_src.v3.OriginalSrc':
    "applications see an address of this machine instead of their client's (original_src)",
}

const CORS = 'CORS policies of this place do not apply: they belong into typed_per_filter_config (cors)'

/** "message.field" → words. */
export const SKIPPED_FIELDS: Readonly<Record<string, string>> = {
  'envoy.config.route.v3.RouteAction.cors': CORS,
  'envoy.config.route.v3.VirtualHost.cors': CORS,
  'envoy.config.cluster.v3.Cluster.load_balancing_policy': 'endpoints are taken in turn (load_balancing_policy)',
}

/** @param type of the configuration of a filter that is not run */
export function findSkippedExtension(type: string): string {
  return EXTENSIONS[type] ?? `the filter ${type} does not run`
}

/** Undefined for a field of which its path tells enough. @param field in Envoy's name */
export function findSkippedField(message: string, field: string): string | undefined {
  return SKIPPED_FIELDS[`${message}.${field}`]
}
