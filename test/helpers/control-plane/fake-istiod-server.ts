/**
 * test/helpers/control-plane/fake-istiod.ts behind a real gRPC server on loopback, with istiod's checks of who comes.
 */
import { Server, ServerCredentials, type Metadata, type ServerDuplexStream, type ServerOptions } from '@grpc/grpc-js'
import { create, type JsonObject } from '@bufbuild/protobuf'
import type { AdsRequest, AdsResponse } from '../../../control-sync/ads/protocol.ts'
import type { SotwResponse } from '../../../control-sync/ads/sotw.ts'
import { kindOf } from '../../../control-sync/ads/messages.ts'
import type { Node } from '../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import {
  DeltaDiscoveryResponseSchema,
  DiscoveryResponseSchema,
} from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import {
  ADS,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  type DiscoveryResponse,
} from '../../../proto/services.ts'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { DeltaTalk, ENDINGS, SotwTalk, type Ending, type FakeIstiod } from './fake-istiod.ts'
import { testCa, type TestCa } from '../test-ca.ts'

export type FakeServer = AsyncDisposable & {
  readonly port: number
  readonly ca: TestCa
  /** Metadata of each stream that came. */ readonly came: Metadata[]
  readonly nodes: Node[]
}
export type FakeServerOptions = {
  readonly host?: string
  readonly ca?: TestCa
  readonly dnsNames?: readonly string[]
  /** Which flavours it has; both by default. */
  readonly flavours?: readonly ('delta' | 'sotw')[]
  readonly grpc?: ServerOptions
}

/** The token that it takes, of namespace `edge` and service account `gateway`. */
export const TOKEN = 'a-good-token'

export async function serveFakeIstiod(istiod: FakeIstiod, o: FakeServerOptions = {}): Promise<FakeServer> {
  const ca = o.ca ?? testCa()
  const own = ca.issue('istio-system', 'istiod', { dnsNames: o.dnsNames ?? ['istiod.istio-system.svc'] })
  const server = new Server({
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
    'grpc.max_send_message_length': -1,
    ...o.grpc,
  })
  const came: Metadata[] = []
  const nodes: Node[] = []
  const admit = (call: ServerDuplexStream<unknown, unknown>): Ending | undefined => {
    came.push(call.metadata)
    const [token] = call.metadata.get('authorization')
    return (
      istiod.refuse.shift() ?? (token === undefined || token === `Bearer ${TOKEN}` ? undefined : ENDINGS.noIdentity)
    )
  }
  const meet = (node: Node | undefined): Ending | undefined => {
    if (!node) return undefined
    nodes.push(node)
    const metadata = (node.metadata ?? {}) as JsonObject
    if (node.id.split('~').length !== 4 || !/^(sidecar|router|waypoint|ztunnel|agentgateway)~[^~]+~/.test(node.id))
      return { code: 3, details: `invalid node ID ${node.id}` }
    return metadata['NAMESPACE'] === 'edge' && metadata['SERVICE_ACCOUNT'] === 'gateway'
      ? undefined
      : ENDINGS.otherIdentity
  }
  const delta = (call: ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>): void => {
    const end = ending(call)
    const refused = admit(call)
    if (refused) {
      end(refused)
      return
    }
    const talk = new DeltaTalk(
      istiod,
      (r) => {
        call.write(deltaMessage(r))
      },
      end,
    )
    call.on('data', (m: DeltaDiscoveryRequest) => {
      const kind = kindOf(m.typeUrl)
      const wrong = meet(m.node)
      if (wrong) talk.end(wrong)
      else if (kind)
        talk.request({
          kind,
          withNode: m.node !== undefined,
          subscribe: m.resourceNamesSubscribe,
          unsubscribe: m.resourceNamesUnsubscribe,
          known: new Map(Object.entries(m.initialResourceVersions).map(([name, version]) => [name, { version }])),
          nonce: m.responseNonce,
          error: m.errorDetail?.message,
        } satisfies AdsRequest)
    })
    gone(call, () => istiod.streams.delete(talk))
  }
  const sotw = (call: ServerDuplexStream<DiscoveryRequest, DiscoveryResponse>): void => {
    const end = ending(call)
    const refused = admit(call)
    if (refused) {
      end(refused)
      return
    }
    const talk = new SotwTalk(
      istiod,
      (r) => {
        call.write(sotwMessage(r))
      },
      end,
    )
    call.on('data', (m: DiscoveryRequest) => {
      const kind = kindOf(m.typeUrl)
      const wrong = meet(m.node)
      if (wrong) talk.end(wrong)
      else if (kind)
        talk.request({
          kind,
          withNode: m.node !== undefined,
          names: m.resourceNames,
          version: m.versionInfo,
          nonce: m.responseNonce,
          error: m.errorDetail?.message,
        })
    })
    gone(call, () => istiod.streams.delete(talk))
  }
  const flavours = o.flavours ?? ['delta', 'sotw']
  server.addService(ADS, {
    ...(flavours.includes('delta') ? { DeltaAggregatedResources: delta } : {}),
    ...(flavours.includes('sotw') ? { StreamAggregatedResources: sotw } : {}),
  })
  const credentials = ServerCredentials.createSsl(
    Buffer.from(ca.rootsPem),
    [{ private_key: Buffer.from(own.keyPem), cert_chain: Buffer.from(own.chainPem) }],
    false,
  )
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${o.host ?? '127.0.0.1'}:0`, credentials, (err, bound) => {
      if (err) reject(err)
      else resolve(bound)
    })
  })
  return {
    port,
    ca,
    came,
    nodes,
    [Symbol.asyncDispose]: async () => {
      server.forceShutdown()
    },
  }
}

function ending(call: ServerDuplexStream<unknown, unknown>): (ending: Ending) => void {
  return (e) => {
    call.emit('error', e)
  }
}
function gone(call: ServerDuplexStream<unknown, unknown>, fn: () => void): void {
  call.on('end', () => {
    fn()
    call.end()
  })
  call.on('close', fn)
  call.on('cancelled', fn)
}

const deltaMessage = (r: AdsResponse): DeltaDiscoveryResponse =>
  create(DeltaDiscoveryResponseSchema, {
    typeUrl: TYPE_URLS[r.kind],
    nonce: r.nonce,
    systemVersionInfo: r.systemVersion,
    removedResources: [...r.removed],
    resources: r.resources.map(({ name, version, value }) => ({
      name,
      version,
      resource: { typeUrl: TYPE_URLS[r.kind], value: value as Uint8Array<ArrayBuffer> },
    })),
  })
const sotwMessage = (r: SotwResponse): DiscoveryResponse =>
  create(DiscoveryResponseSchema, {
    typeUrl: TYPE_URLS[r.kind],
    nonce: r.nonce,
    versionInfo: r.version,
    resources: r.values.map((value) => ({ typeUrl: TYPE_URLS[r.kind], value: value as Uint8Array<ArrayBuffer> })),
  })
