/** All that a control plane sends to one node, as JSON in Envoy's mapping: plain delta ADS, without an agent. */
import { create, toJson, type JsonObject, type Registry } from '@bufbuild/protobuf'
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import { Client, credentials } from '@grpc/grpc-js'
import { TYPE_URLS } from '../../../../model/snapshot.ts'
import { ADS, type DeltaDiscoveryResponse } from '../../../../proto/services.ts'
import { DeltaDiscoveryRequestSchema } from '../../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'

/** A node as it describes itself in its first request. */
export type XdsNode = {
  readonly id: string
  readonly cluster: string
  readonly metadata: JsonObject
  readonly locality?: { readonly region: string; readonly zone: string; readonly subZone: string }
}
/** Name → resource, in JSON. */
export type Sent = Readonly<Record<'cluster' | 'endpoint' | 'listener' | 'route', Readonly<Record<string, JsonObject>>>>

const ANSWER_MS = 10_000

/** @param address HOST:PORT without TLS @param registry of every message that may be inside */
export async function fetchResources(address: string, node: XdsNode, registry: Registry): Promise<Sent> {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.max_receive_message_length': -1 })
  const d = ADS.DeltaAggregatedResources
  const call = client.makeBidiStreamRequest(d.path, d.requestSerialize, d.responseDeserialize)
  const waiting = new Map<string, (r: DeltaDiscoveryResponse) => void>()
  let failed: (err: Error) => void = () => undefined
  const failure = new Promise<never>((_, reject) => (failed = reject))
  failure.catch(() => undefined)
  call.on('data', (r: DeltaDiscoveryResponse) => {
    call.write(create(DeltaDiscoveryRequestSchema, { typeUrl: r.typeUrl, responseNonce: r.nonce }))
    waiting.get(r.typeUrl)?.(r)
  })
  call.on('error', failed)
  const timer = setTimeout(() => failed(new Error('no answer')), ANSWER_MS)
  const ask = async (typeUrl: string, names: readonly string[]): Promise<Readonly<Record<string, JsonObject>>> => {
    const answer = new Promise<DeltaDiscoveryResponse>((resolve) => waiting.set(typeUrl, resolve))
    call.write(
      create(DeltaDiscoveryRequestSchema, {
        typeUrl,
        resourceNamesSubscribe: [...names],
        node: {
          id: node.id,
          cluster: node.cluster,
          metadata: node.metadata,
          ...(node.locality ? { locality: node.locality } : {}),
        },
      }),
    )
    const { resources } = await Promise.race([answer, failure])
    return Object.fromEntries(
      resources.map((r) => {
        const message = anyUnpack(r.resource!, registry)
        if (!message) throw new Error(`no message for ${r.resource!.typeUrl}`)
        const json = toJson(registry.getMessage(message.$typeName)!, message, { registry, useProtoFieldName: true })
        return [r.name, json as JsonObject]
      }),
    )
  }
  try {
    const cluster = await ask(TYPE_URLS.cluster, [])
    const edsNames = Object.entries(cluster)
      .filter(([, c]) => c['type'] === 'EDS')
      .map(([name]) => name)
    const listener = await ask(TYPE_URLS.listener, [])
    const routes = [
      ...new Set([...JSON.stringify(listener).matchAll(/"route_config_name":"([^"]+)"/g)].map((m) => m[1]!)),
    ]
    const endpoint = edsNames.length > 0 ? await ask(TYPE_URLS.endpoint, edsNames) : {}
    const route = routes.length > 0 ? await ask(TYPE_URLS.route, routes) : {}
    return { cluster, endpoint, listener, route }
  } finally {
    clearTimeout(timer)
    call.cancel()
    client.close()
  }
}
