/**
 * test/helpers/control-plane/fake-istiod.ts behind a real gRPC server on loopback, with istiod's checks of who comes.
 */
import { Server, ServerCredentials, type Metadata, type ServerDuplexStream, type ServerOptions } from '@grpc/grpc-js'
import { create, type JsonObject } from '@bufbuild/protobuf'
import type { AdsRequest, AdsResponse } from '../../../control-sync/ads/protocol.ts'
import type { SotwRequest, SotwResponse } from '../../../control-sync/ads/sotw.ts'
import { findKind } from '../../../control-sync/ads/messages.ts'
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
import { TYPE_URLS, type ResourceKind } from '../../../model/snapshot.ts'
import { type FakeIstiod } from './fake-istiod.ts'
import { DeltaTalk, SotwTalk, ENDINGS, type Ending } from './fake-streams.ts'
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
  const door = new Door(istiod)
  const flavours = o.flavours ?? ['delta', 'sotw']
  server.addService(ADS, {
    ...(flavours.includes('delta') ? { DeltaAggregatedResources: serveDelta(istiod, door) } : {}),
    ...(flavours.includes('sotw') ? { StreamAggregatedResources: serveSotw(istiod, door) } : {}),
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
    came: door.came,
    nodes: door.nodes,
    [Symbol.asyncDispose]: async () => {
      server.forceShutdown()
    },
  }
}

/** istiod's checks of who comes: the token with the stream, the node with its first message. */
class Door {
  readonly came: Metadata[] = []
  readonly nodes: Node[] = []
  readonly #istiod: FakeIstiod

  constructor(istiod: FakeIstiod) {
    this.#istiod = istiod
  }

  /** How the stream ends at once; undefined: it is admitted. */
  admit(call: ServerDuplexStream<unknown, unknown>): Ending | undefined {
    this.came.push(call.metadata)
    const [token] = call.metadata.get('authorization')
    const known = token === undefined || token === `Bearer ${TOKEN}`
    return this.#istiod.refuse.shift() ?? (known ? undefined : ENDINGS.noIdentity)
  }

  meet(node: Node | undefined): Ending | undefined {
    if (!node) return undefined
    this.nodes.push(node)
    const metadata = (node.metadata ?? {}) as JsonObject
    if (node.id.split('~').length !== 4 || !/^(sidecar|router|waypoint|ztunnel|agentgateway)~[^~]+~/.test(node.id))
      return { code: 3, details: `invalid node ID ${node.id}` }
    return metadata['NAMESPACE'] === 'edge' && metadata['SERVICE_ACCOUNT'] === 'gateway'
      ? undefined
      : ENDINGS.otherIdentity
  }
}

type Call<Request, Response> = ServerDuplexStream<Request, Response>

const serveDelta =
  (istiod: FakeIstiod, door: Door) =>
  (call: Call<DeltaDiscoveryRequest, DeltaDiscoveryResponse>): void => {
    serve<DeltaTalk, DeltaDiscoveryRequest>(istiod, door, call, {
      talk: (end) => new DeltaTalk(istiod, (r) => call.write(deltaMessage(r)), end),
      hear: (talk, kind, m) => {
        talk.request(deltaRequest(kind, m))
      },
    })
  }

const serveSotw =
  (istiod: FakeIstiod, door: Door) =>
  (call: Call<DiscoveryRequest, DiscoveryResponse>): void => {
    serve<SotwTalk, DiscoveryRequest>(istiod, door, call, {
      talk: (end) => new SotwTalk(istiod, (r) => call.write(sotwMessage(r)), end),
      hear: (talk, kind, m) => {
        talk.request(sotwRequest(kind, m))
      },
    })
  }

type Flavour<Talk, Request> = {
  talk(end: (ending: Ending) => void): Talk
  hear(talk: Talk, kind: ResourceKind, m: Request): void
}

/** One stream, from the check of its token to its end. */
function serve<
  Talk extends DeltaTalk | SotwTalk,
  Request extends { readonly typeUrl: string; readonly node?: Node | undefined },
>(istiod: FakeIstiod, door: Door, call: Call<Request, unknown>, flavour: Flavour<Talk, Request>): void {
  const end = ending(call)
  const refused = door.admit(call)
  if (refused) {
    end(refused)
    return
  }
  const talk = flavour.talk(end)
  call.on('data', (m: Request) => {
    const kind = findKind(m.typeUrl)
    const wrong = door.meet(m.node)
    if (wrong) talk.end(wrong)
    else if (kind) flavour.hear(talk, kind, m)
  })
  gone(call, () => istiod.streams.delete(talk))
}

const deltaRequest = (kind: ResourceKind, m: DeltaDiscoveryRequest): AdsRequest => ({
  kind,
  withNode: m.node !== undefined,
  subscribe: m.resourceNamesSubscribe,
  unsubscribe: m.resourceNamesUnsubscribe,
  known: new Map(Object.entries(m.initialResourceVersions).map(([name, version]) => [name, { version }])),
  nonce: m.responseNonce,
  error: m.errorDetail?.message,
})
const sotwRequest = (kind: ResourceKind, m: DiscoveryRequest): SotwRequest => ({
  kind,
  withNode: m.node !== undefined,
  names: m.resourceNames,
  version: m.versionInfo,
  nonce: m.responseNonce,
  error: m.errorDetail?.message,
})

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
