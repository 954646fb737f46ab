/**
 * HttpConnectionManager.Tracing → Tracing. It only observes: what cannot be taken is left out and told. Without a provider
 * Envoy traces nothing either.
 */
import type { CustomTag, Tracing, TracingProvider } from '../../../model/http/tracing.ts'
import type { Collector, Envelope } from '../../../model/access-log/collector.ts'
import {
  OpenTelemetryConfigSchema,
  type OpenTelemetryConfig,
} from '../../../proto/gen/envoy/config/trace/v3/opentelemetry_pb.ts'
import {
  ZipkinConfig_CollectorEndpointVersion as Version,
  ZipkinConfig_TraceContextOption as Context,
  ZipkinConfigSchema,
  type ZipkinConfig,
} from '../../../proto/gen/envoy/config/trace/v3/zipkin_pb.ts'
import type { HttpConnectionManager_Tracing as XTracing } from '../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import type { CustomTag as XTag } from '../../../proto/gen/envoy/type/tracing/v3/custom_tag_pb.ts'
import type { Percent } from '../../../proto/gen/envoy/type/v3/percent_pb.ts'
import { readEffectiveType, unpack } from '../fields/any.ts'
import { EnvironmentResourceDetectorConfigSchema } from '../../../proto/gen/envoy/extensions/tracers/opentelemetry/resource_detectors/v3/environment_resource_detector_pb.ts'
import { StaticConfigResourceDetectorConfigSchema } from '../../../proto/gen/envoy/extensions/tracers/opentelemetry/resource_detectors/v3/static_config_resource_detector_pb.ts'
import { DecodePath, noteIgnored } from '../fields/decode-path.ts'
import { decodeGrpcCollector, decodeHttpCollector } from './collector.ts'

const MAX_TAGS = 64

/** @param at the field `tracing` */
export function decodeTracing(at: DecodePath, from: XTracing | undefined): { readonly tracing?: Tracing } {
  if (!from?.provider) return {}
  const own = DecodePath.top()
  const provider = providerOf(own, from)
  for (const path of own.ignored) at.in('provider').in('typed_config').in(path).ignore()
  if (typeof provider === 'string' || own.issues.length > 0) {
    const why = typeof provider === 'string' ? provider : `${own.issues[0]!.path}: ${own.issues[0]!.problem}`
    at.in('provider').ignore(why)
    at.skip(`no spans are reported (tracing): ${why}`)
    return {}
  }
  return {
    tracing: {
      clientSampling: share(from.clientSampling),
      randomSampling: share(from.randomSampling),
      overallSampling: share(from.overallSampling),
      maxPathLength: from.maxPathTagLength ?? 256,
      tags: from.customTags.slice(0, MAX_TAGS).flatMap((tag, i) => decodeTag(at.in('custom_tags').item(i), tag)),
      provider,
    },
  }
}

/** Absent: all. */
function share(percent: Percent | undefined): number {
  return percent ? Math.min(1, Math.max(0, percent.value / 100)) : 1
}

function decodeTag(at: DecodePath, { tag, type: by }: XTag): CustomTag[] {
  switch (by.case) {
    case 'literal':
      return [{ kind: 'literal', tag, value: by.value.value }]
    case 'requestHeader':
      return [{ kind: 'header', tag, name: by.value.name.toLowerCase(), byDefault: by.value.defaultValue }]
    case undefined:
      at.ignore(`the tag ${tag.slice(0, 64)} is of a kind that is not implemented`)
      return []
    default:
      return by satisfies never
  }
}

/** @returns why there is none, as a text */
function providerOf(at: DecodePath, { provider }: XTracing): TracingProvider | string {
  const any = provider?.configType.value
  const zipkin = unpack(at, any, ZipkinConfigSchema)
  if (zipkin) {
    noteIgnored(at, ZipkinConfigSchema, zipkin)
    return zipkinOf(at, zipkin)
  }
  const otlp = unpack(at, any, OpenTelemetryConfigSchema)
  if (!otlp) return `the tracer ${readEffectiveType(at, any) || provider?.name || ''} is not implemented`
  noteIgnored(at, OpenTelemetryConfigSchema, otlp)
  return otlpOf(at, otlp)
}

const OTLP_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

function otlpOf(at: DecodePath, from: OpenTelemetryConfig): TracingProvider | string {
  const { grpcService, httpService, sampler, serviceName } = from
  // It would decide instead of the percentages, which are all of them then.
  if (sampler) return `its sampler ${readEffectiveType(at, sampler.typedConfig) || sampler.name} is not implemented`
  const resource = serviceName === '' ? [] : ([['service.name', serviceName]] as const)
  const envelope = {
    kind: 'otlp',
    of: 'spans',
    ...detectResource(at.in('resource_detectors'), from, resource),
  } as const
  const to = httpService
    ? decodeHttpCollector(at.in('http_service'), httpService, envelope)
    : decodeGrpcCollector(at.in('grpc_service'), grpcService, OTLP_PATH, envelope)
  return to ? { kind: 'otlp', to } : 'its spans do not go to a cluster'
}

/** What a detector finds goes before the name of the service, as in Envoy. */
function detectResource(
  at: DecodePath,
  { resourceDetectors }: OpenTelemetryConfig,
  resource: Extract<Envelope, { kind: 'otlp' }>['resource'],
): Omit<Extract<Envelope, { kind: 'otlp' }>, 'kind' | 'of'> {
  const found = new Map(resource)
  let withEnvironment = false
  for (const [i, { typedConfig }] of resourceDetectors.entries()) {
    const here = at.item(i)
    const fixed = unpack(here, typedConfig, StaticConfigResourceDetectorConfigSchema)
    if (fixed) for (const [name, value] of Object.entries(fixed.attributes)) found.set(name, value)
    else if (unpack(here, typedConfig, EnvironmentResourceDetectorConfigSchema)) withEnvironment = true
    else here.ignore(`the resource detector ${readEffectiveType(here, typedConfig)} is not implemented`)
  }
  return { resource: [...found], ...(withEnvironment && { withEnvironment }) }
}

function zipkinOf(at: DecodePath, from: ZipkinConfig): TracingProvider | string {
  if (from.collectorEndpointVersion !== Version.HTTP_JSON) return 'its collector wants another form than JSON'
  const to = zipkinCollector(at, from)
  if (!to) return 'its collector is no cluster'
  return {
    kind: 'zipkin',
    to,
    isLong: from.traceId128bit,
    isShared: from.sharedSpanContext ?? true,
    withW3c: from.traceContextOption === Context.USE_B3_WITH_W3C_PROPAGATION,
  }
}

function zipkinCollector(at: DecodePath, from: ZipkinConfig): Collector | undefined {
  const envelope = { kind: 'zipkin' } as const
  if (from.collectorService) return decodeHttpCollector(at.in('collector_service'), from.collectorService, envelope)
  const { collectorCluster: cluster, collectorHostname, collectorEndpoint: path } = from
  if (cluster === '') return undefined
  return { cluster, authority: collectorHostname || cluster, path, headers: [], speaks: 'http', envelope }
}
