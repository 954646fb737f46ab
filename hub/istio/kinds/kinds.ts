/** The kinds that a folder may hold, and how Istio names them. */
import type * as z from 'zod'
import { authorizationPolicy, type AuthorizationPolicy } from './authorization-policy.ts'
import { destinationRule, type DestinationRule } from './destination-rule.ts'
import { envoyFilter, type EnvoyFilter } from './envoy-filter.ts'
import { peerAuthentication, type PeerAuthentication } from './peer-authentication.ts'
import { requestAuthentication, type RequestAuthentication } from './request-authentication.ts'
import { serviceEntry, type ServiceEntry } from './service-entry.ts'
import { sidecar, type Sidecar } from './sidecar.ts'
import { telemetry, type Telemetry } from './telemetry.ts'
import { virtualService, type VirtualService } from './virtual-service.ts'
import { workloadEntryResource, workloadGroup, type WorkloadEntry, type WorkloadGroup } from './workload-entry.ts'

export type Specs = {
  readonly ServiceEntry: ServiceEntry
  readonly WorkloadEntry: WorkloadEntry
  readonly WorkloadGroup: WorkloadGroup
  readonly Sidecar: Sidecar
  readonly VirtualService: VirtualService
  readonly DestinationRule: DestinationRule
  readonly PeerAuthentication: PeerAuthentication
  readonly AuthorizationPolicy: AuthorizationPolicy
  readonly RequestAuthentication: RequestAuthentication
  readonly Telemetry: Telemetry
  readonly EnvoyFilter: EnvoyFilter
}
export type Kind = keyof Specs

/**
 * `version`: the one that an istiod names in metadata, whatever the file says. `versions`: those that a file may say.
 */
export type KindRow = {
  readonly group: string
  readonly version: string
  readonly versions: readonly string[]
  readonly schema: z.ZodType
}

const NETWORKING = { group: 'networking.istio.io', version: 'v1', versions: ['v1', 'v1beta1', 'v1alpha3'] }
const SECURITY = { group: 'security.istio.io', version: 'v1', versions: ['v1', 'v1beta1'] }

export const KINDS: Readonly<Record<Kind, KindRow>> = {
  ServiceEntry: { ...NETWORKING, schema: serviceEntry },
  WorkloadEntry: { ...NETWORKING, schema: workloadEntryResource },
  WorkloadGroup: { ...NETWORKING, schema: workloadGroup },
  Sidecar: { ...NETWORKING, schema: sidecar },
  VirtualService: { ...NETWORKING, schema: virtualService },
  DestinationRule: { ...NETWORKING, schema: destinationRule },
  PeerAuthentication: { ...SECURITY, schema: peerAuthentication },
  AuthorizationPolicy: { ...SECURITY, schema: authorizationPolicy },
  RequestAuthentication: { ...SECURITY, schema: requestAuthentication },
  Telemetry: { group: 'telemetry.istio.io', version: 'v1', versions: ['v1', 'v1alpha1'], schema: telemetry },
  EnvoyFilter: { group: 'networking.istio.io', version: 'v1alpha3', versions: ['v1alpha3'], schema: envoyFilter },
}
/** A field that may be left out altogether: an empty policy means something. */
export const isKind = (kind: string): kind is Kind => Object.hasOwn(KINDS, kind)
