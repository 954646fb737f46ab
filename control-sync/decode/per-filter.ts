/** typed_per_filter_config: what a route, virtual host or table says to the filters of the listener. The nearest one counts, as in Envoy. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Policy } from '../../agent/model/policy.ts'
import type { Fault } from '../../agent/model/route.ts'
import { FilterConfigSchema } from '../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { HTTPFaultSchema } from '../proto/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts'
import { RBACPerRouteSchema } from '../proto/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts'
import { effectiveType, unpack } from './any.ts'
import { noteIgnored, type At } from './at.ts'
import { faultOf } from './fault.ts'
import { policyOf } from './policy.ts'
import { skippedExtension } from './skipped.ts'

export type PerFilter = { readonly policy: Policy | 'disabled' | undefined; readonly fault: Fault | undefined }

const RBAC_FILTER = 'envoy.filters.http.rbac'
const REFUSE_ALL: Policy = { action: 'allow', rules: [], shadow: undefined }

/** @param outer what the enclosing table or virtual host says. */
export function perFilter(at: At, configs: Readonly<Record<string, Any>>, outer: PerFilter): PerFilter {
  let made = outer
  for (const [name, any] of Object.entries(configs)) made = { ...made, ...one(at.in('typed_per_filter_config').item(name), name, any) }
  return made
}
export const NO_PER_FILTER: PerFilter = { policy: undefined, fault: undefined }

function one(at: At, name: string, any: Any): Partial<PerFilter> {
  const wrapped = unpack(at, any, FilterConfigSchema)
  if (wrapped?.disabled) {
    if (name === RBAC_FILTER) return { policy: 'disabled' }
    at.ignore('only the RBAC filter can be switched off')
    return {}
  }
  const inner = wrapped ? wrapped.config : any
  switch (effectiveType(at, inner)) {
    // As a TypedStruct, too, which is not read: everything is refused.
    case RBACPerRouteSchema.typeName: return rbac(at, name, inner)
    case HTTPFaultSchema.typeName: {
      const fault = unpack(at, inner, HTTPFaultSchema)
      if (fault) noteIgnored(at, HTTPFaultSchema, fault)
      return { fault: fault && faultOf(at, fault) }
    }
    default:
      at.ignore(`${effectiveType(at, inner)} per route is not implemented`)
      at.skip(skippedExtension(effectiveType(at, inner)))
      return {}
  }
}

function rbac(at: At, name: string, any: Any | undefined): Partial<PerFilter> {
  const config = unpack(at, any, RBACPerRouteSchema)
  if (!config) return { policy: REFUSE_ALL }
  // meshlet has one override for all RBAC filters of a listener; under another name it could switch off what it does not mean.
  if (name !== RBAC_FILTER || config.$unknown?.length) {
    at.ignore(`only for the filter name ${RBAC_FILTER}: everything is refused`)
    return { policy: REFUSE_ALL }
  }
  return { policy: (config.rbac && policyOf(at.in('rbac'), config.rbac)) ?? 'disabled' }
}
