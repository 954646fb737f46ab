/**
 * istio.stats and istio.metadata_exchange. They only observe, so that whatever cannot be read in them is left out and
 * told, and blocks nothing.
 */
import { fromBinary, fromJson, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import type { Any } from '@bufbuild/protobuf/wkt'
import { compileLabel, type CelExpression } from '../../../model/access-log/cel/evaluate.ts'
import {
  GRPC_METRICS,
  HTTP_METRICS,
  ISTIO_LABELS,
  PEER_EXCHANGE,
  TCP_METRICS,
  type IstioMetric,
  type LabelValue,
  type MetadataExchange,
  type StatsFilter,
} from '../../../model/telemetry.ts'
import { FilterConfigSchema } from '../../../proto/gen/envoy/extensions/filters/http/grpc_stats/v3/config_pb.ts'
import { ConfigSchema, type Config } from '../../../proto/gen/istio/peer_metadata/config_pb.ts'
import { PluginConfigSchema, type MetricConfig, type PluginConfig } from '../../../proto/gen/istio/stats/config_pb.ts'
import { readEffectiveType, readTypeName, unpackStruct } from '../fields/any.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'

const METRICS: readonly IstioMetric[] = [...HTTP_METRICS, ...GRPC_METRICS, ...TCP_METRICS]
const LABELS: ReadonlySet<string> = new Set(ISTIO_LABELS)

/** @param at the filter's typed_config. @returns undefined for a filter of another type, or one that cannot be read */
export function decodeStats(at: DecodePath, any: Any | undefined): StatsFilter | undefined {
  const from = read(at, any, PluginConfigSchema)
  if (!from) return undefined
  noteIgnored(at, PluginConfigSchema, from)
  const tags = tagsOf(at.in('metrics'), from)
  const values = [...tags.values()].flatMap((changes) => [...changes.values()])
  return {
    hostFallback: !from.disableHostHeaderFallback,
    dropped: new Set(from.metrics.flatMap((m) => (m.drop ? METRICS.filter((name) => name === m.name) : []))),
    tags,
    expressions: [...new Set(values.filter((value) => typeof value === 'object'))],
  }
}

function tagsOf(at: DecodePath, { metrics }: PluginConfig): StatsFilter['tags'] {
  const all = new Map<IstioMetric, Map<string, LabelValue>>()
  for (const [i, metric] of metrics.entries()) {
    if (metric.drop) continue
    const here = at.item(i)
    const names = METRICS.filter((name) => metric.name === '' || name === metric.name)
    if (names.length === 0) here.in('name').ignore(`there is no metric ${metric.name}`)
    const changes = changesOf(here, metric)
    if (changes.length === 0) continue
    for (const name of names) {
      const known = all.get(name) ?? new Map<string, LabelValue>()
      for (const [tag, value] of changes) known.set(tag, value)
      all.set(name, known)
    }
  }
  return all
}

function changesOf(at: DecodePath, { tagsToRemove, dimensions }: MetricConfig): [string, LabelValue][] {
  const changes: [string, LabelValue][] = []
  for (const tag of tagsToRemove) {
    if (LABELS.has(tag)) changes.push([tag, undefined])
    else at.in('tags_to_remove').ignore(`${tag} is none of the standard labels`)
  }
  for (const [tag, expression] of Object.entries(dimensions)) {
    const here = at.in('dimensions').item(tag)
    if (!LABEL_NAME.test(tag)) {
      here.ignore('is no name that a label can have')
      continue
    }
    const value = valueOf(here, expression)
    if (value !== undefined) changes.push([tag, value])
  }
  return changes
}

/** @returns undefined for what is no expression: the label stays as it is, as in Envoy */
function valueOf(at: DecodePath, source: string): string | CelExpression | undefined {
  const made = compileLabel(source)
  const quoted = JSON.stringify(source.slice(0, 256))
  if ('problem' in made) {
    at.ignore(`${quoted} is not evaluated: ${made.problem}`)
    return undefined
  }
  if (made.unknown !== undefined)
    at.ignore(
      `${quoted}: ${made.unknown} is no attribute that is known here, the label becomes unknown where it counts`,
    )
  const { tree } = made.expression
  return tree.kind === 'value' ? String(tree.value) : made.expression
}

/**
 * envoy.filters.http.grpc_stats: messages count in istio_* metrics where the filter hands its counts on. What it keeps
 * itself is Envoy's own.
 * @returns undefined for a filter of another type
 */
export function decodeGrpcStats(at: DecodePath, any: Any | undefined): boolean | undefined {
  const from = read(at, any, FilterConfigSchema)
  if (!from) return undefined
  noteIgnored(at, FilterConfigSchema, from)
  return from.emitFilterState
}

const LABEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** @returns undefined for a filter of another type, or one that cannot be read */
export function decodeExchange(at: DecodePath, any: Any | undefined): MetadataExchange | undefined {
  const from = read(at, any, ConfigSchema)
  if (!from) return undefined
  noteIgnored(at, ConfigSchema, from)
  const tells = (by: Config['upstreamPropagation']): Config['upstreamPropagation'][number]['methodSpecifier'] =>
    by.find((m) => m.methodSpecifier.case === 'istioHeaders')?.methodSpecifier ?? { case: undefined }
  const server = tells(from.upstreamPropagation)
  return {
    clientBy: from.downstreamDiscovery.flatMap(({ methodSpecifier: by }): MetadataExchange['clientBy'] =>
      by.case === 'istioHeaders' ? ['headers'] : by.case === 'baggage' ? ['baggage'] : [],
    ),
    serverByHeaders: from.upstreamDiscovery.some((m) => m.methodSpecifier.case === 'istioHeaders'),
    tellsServer: server.case === undefined ? undefined : server.value.skipExternalClusters ? 'mesh' : 'all',
    tellsClient: tells(from.downstreamPropagation).case !== undefined,
  }
}

/** The network filter of that name, of TCP. */
export function isPeerExchange(at: DecodePath, any: Any | undefined): boolean {
  if (readEffectiveType(at, any) !== 'envoy.tcp.metadataexchange.config.MetadataExchange') return false
  const struct = unpackStruct(at, any)
  // Its message has a text (`protocol`) and a flag.
  return struct ? struct.value['protocol'] === PEER_EXCHANGE : Buffer.from(any!.value).includes(PEER_EXCHANGE)
}

function read<T extends DescMessage>(at: DecodePath, any: Any | undefined, schema: T): MessageShape<T> | undefined {
  try {
    if (readTypeName(any) === schema.typeName) return fromBinary(schema, any!.value)
    const struct = unpackStruct(at, any)
    if (struct?.type !== schema.typeName) return undefined
    return fromJson(schema, struct.value, { ignoreUnknownFields: true })
  } catch (err) {
    at.ignore(`cannot be read, and has no effect: ${err instanceof Error ? err.message : String(err)}`)
    return undefined
  }
}
