/**
 * The configuration in force in the shape of Envoy's /config_dump (envoy.admin.v3.ConfigDump), so that `istioctl
 * proxy-config` reads it.
 */
import {
  create,
  createRegistry,
  fromBinary,
  toBinary,
  toJson,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type Message,
} from '@bufbuild/protobuf'
import { StringValueSchema, type Any } from '@bufbuild/protobuf/wkt'
import type { Identity } from '../model/identity.ts'
import { TYPE_URLS, type RawResource, type ResourceKind, type Snapshot } from '../model/snapshot.ts'
import type { NodeDescription } from './ads/node.ts'
import { DataSourceSchema } from '../proto/gen/envoy/config/core/v3/base_pb.ts'
import type { TlsCertificate } from '../proto/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts'
import { loadRegistry } from '../proto/registry.ts'

export type DumpFacts = {
  readonly node: NodeDescription
  readonly generation: number
  readonly identity: Identity | undefined
}

const ADMIN = 'type.googleapis.com/envoy.admin.v3'
/** Anys inside Anys deeper than these are shown as bytes. */
const MAX_DEPTH = 16

/**
 * Field names as in the .proto files. What does not decode is shown as its type URL and base64; private keys are shown
 * as [redacted].
 */
export function collectConfigDump(snapshot: Snapshot, { node, generation, identity }: DumpFacts): JsonObject {
  const version_info = String(generation)
  const last_updated = new Date(snapshot.savedAtMs).toISOString()
  const all = <T>(kind: ResourceKind, entry: (resource: JsonValue, raw: RawResource) => T): T[] =>
    [...snapshot.resources[kind].values()].map((raw) => entry(anyJson(TYPE_URLS[kind], raw.value, 0), raw))
  return {
    configs: [
      { '@type': `${ADMIN}.BootstrapConfigDump`, bootstrap: { node: nodeJson(node) }, last_updated },
      {
        '@type': `${ADMIN}.ClustersConfigDump`,
        version_info,
        dynamic_active_clusters: all('cluster', (cluster) => ({ version_info, cluster, last_updated })),
      },
      {
        '@type': `${ADMIN}.EndpointsConfigDump`,
        dynamic_endpoint_configs: all('endpoint', (endpoint_config) => ({
          version_info,
          endpoint_config,
          last_updated,
        })),
      },
      {
        '@type': `${ADMIN}.ListenersConfigDump`,
        version_info,
        dynamic_listeners: all('listener', (listener, { name }) => ({
          name,
          active_state: { version_info, listener, last_updated },
        })),
      },
      {
        '@type': `${ADMIN}.SecretsConfigDump`,
        dynamic_active_secrets: [
          ...(identity ? secrets(identity) : []),
          ...all('secret', (secret, { name }) => ({ name, version_info, last_updated, secret })),
        ],
      },
      {
        '@type': `${ADMIN}.RoutesConfigDump`,
        dynamic_route_configs: all('route', (route_config) => ({ version_info, route_config, last_updated })),
      },
      // Also without any, as Envoy has it once there is a connection manager: `istioctl proxy-config ecds` asks for it.
      {
        '@type': `${ADMIN}.EcdsConfigDump`,
        ecds_filters: all('extension', (ecds_filter) => ({ version_info, ecds_filter, last_updated })),
      },
    ],
  }
}

/** The workload identity under Istio's names, as a sidecar's Envoy gets it over SDS. */
function secrets({ chainPem, rootsPem, serial, notBeforeMs }: Identity): JsonObject[] {
  const bytes = (text: string): JsonObject => ({ inline_bytes: Buffer.from(text).toString('base64') })
  const secret = (name: string, content: JsonObject): JsonObject => ({
    name,
    version_info: serial,
    last_updated: new Date(notBeforeMs).toISOString(),
    secret: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret', name, ...content },
  })
  return [
    secret('default', { tls_certificate: { certificate_chain: bytes(chainPem), private_key: bytes('[redacted]') } }),
    secret('ROOTCA', { validation_context: { trusted_ca: bytes(rootsPem) } }),
  ]
}

function nodeJson(node: NodeDescription): JsonObject {
  const { region, zone, subZone } = node.locality
  return {
    id: node.id,
    cluster: node.cluster,
    metadata: node.metadata,
    locality: { region, zone, sub_zone: subZone },
    user_agent_name: 'meshlet',
    user_agent_version: node.userAgentVersion,
  }
}

/** One resource, as the dump shows it. */
export function describeResource(typeUrl: string, value: Uint8Array): JsonObject {
  return anyJson(typeUrl, value, 0)
}

function anyJson(typeUrl: string, value: Uint8Array, depth: number): JsonObject {
  const asBytes = (): JsonObject => ({
    '@type': typeUrl,
    value: Buffer.from(hasKey(value) ? '[redacted]' : value).toString('base64'),
  })
  const schema = depth > MAX_DEPTH ? undefined : loadRegistry().getMessage(typeUrl.slice(typeUrl.lastIndexOf('/') + 1))
  if (!schema) return asBytes()
  try {
    const message = fromBinary(schema, value)
    const inner = new Inner()
    prepare(schema, message, inner)
    const json = toJson(schema, message, { registry: MARKS, useProtoFieldName: true })
    const shown = inner.restored(json, depth)
    return schema.typeName.startsWith('google.protobuf.')
      ? { '@type': typeUrl, value: shown }
      : { '@type': typeUrl, ...(shown as JsonObject) }
  } catch {
    return asBytes()
  }
}

/**
 * toJson fails as a whole at the first Any that it cannot decode, so each is replaced by a numbered text and put back
 * as JSON of its own.
 */
class Inner {
  readonly #anys: { readonly typeUrl: string; readonly value: Uint8Array }[] = []

  take(any: Any): void {
    const marker = create(StringValueSchema, { value: `${MARK}${this.#anys.length}` })
    this.#anys.push({ typeUrl: any.typeUrl, value: any.value })
    any.typeUrl = MARK_TYPE
    any.value = toBinary(StringValueSchema, marker)
  }

  restored(json: JsonValue, depth: number): JsonValue {
    if (Array.isArray(json)) return json.map((v) => this.restored(v, depth))
    if (typeof json !== 'object' || json === null) return json
    const { value } = json
    if (json['@type'] === MARK_TYPE && typeof value === 'string' && value.startsWith(MARK)) {
      const any = this.#anys[Number(value.slice(MARK.length))]
      if (any) return anyJson(any.typeUrl, any.value, depth + 1)
    }
    return Object.fromEntries(Object.entries(json).map(([k, v]) => [k, this.restored(v, depth)]))
  }
}
const MARK_TYPE = 'type.googleapis.com/google.protobuf.StringValue'
const MARK = '\0any'
/** After `prepare` no other Any is left. */
const MARKS = createRegistry(StringValueSchema)

/** Takes Anys out and private keys away, at any depth. */
function prepare(schema: DescMessage, message: Message, inner: Inner): void {
  if (schema.typeName === 'google.protobuf.Any') {
    inner.take(message as Any)
    return
  }
  if (schema.typeName.startsWith('google.protobuf.')) return
  if (schema.typeName === 'envoy.extensions.transport_sockets.tls.v3.TlsCertificate') redact(message as TlsCertificate)
  // Generated messages have no index signature; the schema says which fields there are.
  const fields = message as unknown as Record<string, unknown>
  for (const field of schema.fields) {
    const below = field.message
    if (!below) continue
    const oneof = field.oneof && (fields[field.oneof.localName] as { case?: string; value?: unknown } | undefined)
    const value = oneof ? (oneof.case === field.localName ? oneof.value : undefined) : fields[field.localName]
    // Wrappers and Structs are plain values in protobuf-es.
    if (
      typeof value !== 'object' ||
      value === null ||
      (below.typeName.startsWith('google.protobuf.') && below.typeName !== 'google.protobuf.Any')
    )
      continue
    const each: readonly unknown[] =
      field.fieldKind === 'list' ? (value as unknown[]) : field.fieldKind === 'map' ? Object.values(value) : [value]
    for (const one of each) prepare(below, one as Message, inner)
  }
}

/**
 * Of a type that is not known here only the text can tell: PEM (RFC 7468 §10, §11), for a key that stands in a resource
 * nearly always does.
 */
function hasKey(value: Uint8Array): boolean {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).includes('PRIVATE KEY-----')
}

function redact(certificate: TlsCertificate): void {
  const hidden = (): TlsCertificate['privateKey'] =>
    create(DataSourceSchema, { specifier: { case: 'inlineString', value: '[redacted]' } })
  const { specifier } = certificate.privateKey ?? {}
  if (specifier?.case !== undefined && specifier.case !== 'filename') certificate.privateKey = hidden()
  if (certificate.password) certificate.password = hidden()
  if (certificate.pkcs12) certificate.pkcs12 = hidden()
}
