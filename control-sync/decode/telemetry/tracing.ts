/**
 * HttpConnectionManager.Tracing → Tracing. It only observes: what cannot be taken is left out and told. Without a provider
 * Envoy traces nothing either.
 */
import type { CustomTag, Tracing, TracingProvider } from '../../../model/http/tracing.ts'
import type { GrpcService } from '../../../proto/gen/envoy/config/core/v3/grpc_service_pb.ts'
import { OpenTelemetryConfigSchema } from '../../../proto/gen/envoy/config/trace/v3/opentelemetry_pb.ts'
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
import { DecodePath, hasUnknown, noteIgnored } from '../fields/decode-path.ts'

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
    return zipkinOf(zipkin)
  }
  const otlp = unpack(at, any, OpenTelemetryConfigSchema)
  if (!otlp) return `the tracer ${readEffectiveType(at, any) || provider?.name || ''} is not implemented`
  noteIgnored(at, OpenTelemetryConfigSchema, otlp)
  const grpc = findGrpcTarget(otlp.grpcService)
  return grpc ? { kind: 'otlp', ...grpc, serviceName: otlp.serviceName } : 'its spans do not go to a cluster over gRPC'
}

function zipkinOf(from: ZipkinConfig): TracingProvider | string {
  if (from.collectorCluster === '') return 'its collector is no cluster'
  if (from.collectorEndpointVersion !== Version.HTTP_JSON) return 'its collector wants another form than JSON'
  return {
    kind: 'zipkin',
    cluster: from.collectorCluster,
    path: from.collectorEndpoint,
    host: from.collectorHostname || from.collectorCluster,
    isLong: from.traceId128bit,
    isShared: from.sharedSpanContext ?? true,
    withW3c: from.traceContextOption === Context.USE_B3_WITH_W3C_PROPAGATION,
  }
}

/** @returns undefined where it leads to no cluster */
export function findGrpcTarget(
  from: GrpcService | undefined,
): { readonly cluster: string; readonly authority: string; readonly headers: readonly string[] } | undefined {
  const { case: kind, value: envoy } = from?.targetSpecifier ?? {}
  if (!from || kind !== 'envoyGrpc' || envoy!.clusterName === '' || hasUnknown(from)) return undefined
  return {
    cluster: envoy!.clusterName,
    authority: envoy!.authority || envoy!.clusterName,
    headers: from.initialMetadata.flatMap(({ key, value }) =>
      FIELD_NAME.test(key) && !/[\0\r\n]/.test(value) ? [key.toLowerCase(), value] : [],
    ),
  }
}
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
