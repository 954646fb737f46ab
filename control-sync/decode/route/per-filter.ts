/**
 * typed_per_filter_config: what a route, virtual host or table says to the filters of the listener, by the filters'
 * names. As in Envoy the nearest one counts, and says nothing to filters of another name: it may switch off one of two
 * policies, and not the other.
 */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Policy } from '../../../model/policy.ts'
import type { RouteFilter, RouteFilters } from '../../../model/route.ts'
import { FilterConfigSchema } from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { CorsPolicySchema } from '../../../proto/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts'
import { HeaderMutationPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts'
import { HTTPFaultSchema } from '../../../proto/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts'
import { ExtAuthzPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts'
import { LocalRateLimitSchema } from '../../../proto/gen/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.ts'
import { PerRouteConfigSchema as JwtPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts'
import { RateLimitPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/ratelimit/v3/rate_limit_pb.ts'
import { StatefulSessionPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/stateful_session/v3/stateful_session_pb.ts'
import { RBACPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts'
import { readEffectiveType, unpack } from '../fields/any.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeRouteBodies } from '../bodies.ts'
import { decodeCors } from '../cors.ts'
import { decodeMutations } from '../mutations.ts'
import { decodeRouteExtAuthz } from '../ext-authz.ts'
import { decodeFault } from '../fault.ts'
import { decodePolicy } from '../policy.ts'
import { decodeRouteGlobalLimit } from '../rate-limit/global.ts'
import { decodeLocalRateLimit } from '../rate-limit/local.ts'
import { resolveStruct } from '../fields/typed-struct.ts'
import { decodeSession } from '../session.ts'
import { findSkippedExtension } from '../fields/skipped.ts'

const REFUSE_ALL: Policy = { action: 'allow', rules: [], shadow: undefined }

/** @param outer what the enclosing table or virtual host says. */
export function decodePerFilter(
  at: DecodePath,
  configs: Readonly<Record<string, Any>>,
  outer: RouteFilters,
): RouteFilters {
  let made: Map<string, RouteFilter> | undefined
  for (const [name, any] of Object.entries(configs)) {
    made ??= new Map(outer)
    made.set(name, { ...outer.get(name), ...one(at.in('typed_per_filter_config').item(name), any, outer.get(name)) })
  }
  return made ?? outer
}
export const NO_PER_FILTER: RouteFilters = new Map()

/** Whatever is said to a filter switches it on, except that it is switched off. */
function one(at: DecodePath, any: Any, outer: RouteFilter | undefined): RouteFilter {
  const wrapped = unpack(at, any, FilterConfigSchema)
  if (wrapped?.disabled) return { off: true }
  if (wrapped && !wrapped.config) at.issue('neither switches the filter off nor holds a configuration')
  const inner = resolveStruct(at, wrapped ? wrapped.config : any)
  const type = readEffectiveType(at, inner)
  switch (type) {
    // `config: {}` switches on what the listener has.
    case '':
      return { off: false }
    // As a TypedStruct, too, which is not read: everything is refused.
    case RBACPerRouteSchema.typeName:
      return { off: false, policy: { value: rbac(at, inner) } }
    case HTTPFaultSchema.typeName: {
      const fault = unpack(at, inner, HTTPFaultSchema)
      if (fault) noteIgnored(at, HTTPFaultSchema, fault)
      return { off: false, fault: { value: fault && decodeFault(at, fault) } }
    }
    case CorsPolicySchema.typeName: {
      const cors = unpack(at, inner, CorsPolicySchema)
      if (cors) noteIgnored(at, CorsPolicySchema, cors)
      return { off: false, ...(cors && { cors: decodeCors(at, cors, outer?.cors) }) }
    }
    case HeaderMutationPerRouteSchema.typeName: {
      const own = unpack(at, inner, HeaderMutationPerRouteSchema)
      if (!own) return { off: false }
      noteIgnored(at, HeaderMutationPerRouteSchema, own)
      return {
        off: false,
        mutations: [...(outer?.mutations ?? []), decodeMutations(at.in('mutations'), own.mutations)],
      }
    }
    case JwtPerRouteSchema.typeName: {
      const jwt = unpack(at, inner, JwtPerRouteSchema)
      const by = jwt?.requirementSpecifier
      if (by?.case === 'requirementName') return { off: false, jwt: by.value }
      if (by?.case !== 'disabled') at.issue('neither switches the filter off nor names a requirement')
      return { off: false, jwt: false }
    }
    case ExtAuthzPerRouteSchema.typeName: {
      const authz = unpack(at, inner, ExtAuthzPerRouteSchema)
      return authz ? { off: false, extAuthz: decodeRouteExtAuthz(at, authz) } : { off: false }
    }
    case LocalRateLimitSchema.typeName: {
      const limit = unpack(at, inner, LocalRateLimitSchema)
      return { off: false, ...(limit && { rateLimit: decodeLocalRateLimit(at, limit, 'route') }) }
    }
    case RateLimitPerRouteSchema.typeName: {
      const limit = unpack(at, inner, RateLimitPerRouteSchema)
      return { off: false, ...(limit && { globalLimit: decodeRouteGlobalLimit(at, limit) }) }
    }
    case StatefulSessionPerRouteSchema.typeName: {
      const own = unpack(at, inner, StatefulSessionPerRouteSchema)?.override
      if (own?.case !== 'statefulSession') return { off: false, ...(own?.value && { session: false as const }) }
      return { off: false, session: decodeSession(at.in('stateful_session'), own.value) ?? false }
    }
    default:
      return decodeRouteBodies(at, inner) ?? leaveOut(at, type)
  }
}
function leaveOut(at: DecodePath, type: string): RouteFilter {
  at.ignore(`${type} per route is not implemented`)
  at.skip(findSkippedExtension(type))
  return { off: false }
}

/** Undefined: none at all, as an empty RBACPerRoute says. */
function rbac(at: DecodePath, any: Any | undefined): Policy | undefined {
  const config = unpack(at, any, RBACPerRouteSchema)
  if (!config) return REFUSE_ALL
  if (config.$unknown?.length) {
    at.ignore('holds what meshlet does not know: everything is refused')
    return REFUSE_ALL
  }
  return config.rbac && decodePolicy(at.in('rbac'), config.rbac)
}
