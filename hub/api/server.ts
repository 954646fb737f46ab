/** The hub's gRPC server over TLS: the two services of an istiod on one port. */
import {
  experimental,
  Server,
  ServerCredentials,
  type ServerOptions,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js'
import { MeshError } from '../../core/errors.ts'
import { detach, guard, doNothing } from '../../core/defects/guard.ts'
import {
  ADS,
  CA,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  type DiscoveryResponse,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from '../../proto/services.ts'
import {
  createDeltaConversation,
  createSotwConversation,
  type AnyAnswer,
  type AnyRequest,
  type Conversation,
} from './ads/messages.ts'
import { AdsStream, type AdsOptions } from './ads/stream.ts'
import { admitCaller, type CallerLimits } from './admit-caller.ts'
import { describeHolder } from './authenticate.ts'
import { answerCertificateRequest, reportCertificateRefused } from './certificate-messages.ts'
import type { CertificateService } from './certificate-service.ts'
import { openDoor, type Door, type DoorLimits } from './door.ts'
import { readCredentials, readIp } from './peer.ts'
import { HalfMessages } from './half-messages.ts'
import type { ServerIdentity } from './server-identity.ts'
import { toGrpcStatus } from './status.ts'

export type HubServerOptions = Omit<AdsOptions, 'proved'> & {
  /** ADDRESS:PORT; port 0 picks a free one. */
  readonly listen: string
  readonly identity: ServerIdentity
  readonly certificates: CertificateService
  readonly maxRequestBytes: number
  readonly limits: DoorLimits & CallerLimits & { readonly maxHalfMessageBytes: number }
}
export type HubServer = AsyncDisposable & { readonly port: number }

/** A dead link is noticed within the sum of both, which are istiod's values. */
const KEEPALIVE = { timeMs: 30_000, timeoutMs: 10_000 }
/** After it the device has to connect again, and proves itself with the certificate that it has by then. */
const MAX_CONNECTION_AGE_MS = 6 * 3_600_000
const MAX_CONNECTION_AGE_GRACE_MS = 10_000
/** A connection with an authenticated caller ends after so long without a call. */
const MAX_CONNECTION_IDLE_MS = 5 * 60_000
const MAX_STREAMS_PER_CONNECTION = 32
const MAX_METADATA_BYTES = 16_384
const CLOSE_WITHIN_MS = 1_000

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function startServer(p: HubServerOptions): Promise<HubServer> {
  const halfMessages = new HalfMessages({
    maxBytes: p.limits.maxHalfMessageBytes,
    maxMessageBytes: p.maxRequestBytes,
    metrics: p.metrics,
    exceeded: () => p.budgets.exceeded('half-messages'),
  })
  // The services are made before the port, which knows who has proved what.
  let provedBy: Door['proved'] = () => true // no port, no call
  const proved: AdsOptions['proved'] = (peer, caller) => {
    admitCaller(provedBy, p.limits, peer, caller)
    halfMessages.belongs(peer, describeHolder(caller))
  }
  const server = new Server(grpcOptions(p, halfMessages))
  const streams = addAds(server, { ...p, proved })
  server.addService(CA, { CreateCertificate: certificateHandler(p, proved) })
  const injector = server.createConnectionInjector(serverCredentials(p.identity))
  const door = await openDoor({
    ...p,
    name: 'grpc',
    enter: (socket) => injector.injectConnection(socket),
    left: (peer) => halfMessages.left(peer),
  })
  provedBy = door.proved
  return {
    port: door.port,
    async [Symbol.asyncDispose]() {
      for (const stream of streams) stream.fail(new MeshError('MESH_DRAINING', 'the hub is stopping'))
      const closed = new Promise<void>((resolve) => {
        server.tryShutdown(() => resolve())
      })
      const late = p.clock.after(CLOSE_WITHIN_MS, () => server.forceShutdown())
      await closed
      late.cancel()
      await door[Symbol.asyncDispose]()
    },
  }
}

function grpcOptions({ maxRequestBytes }: HubServerOptions, halfMessages: HalfMessages): ServerOptions {
  return {
    'grpc.max_receive_message_length': maxRequestBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_metadata_size': MAX_METADATA_BYTES,
    'grpc.max_concurrent_streams': MAX_STREAMS_PER_CONNECTION,
    'grpc.keepalive_time_ms': KEEPALIVE.timeMs,
    'grpc.keepalive_timeout_ms': KEEPALIVE.timeoutMs,
    'grpc.max_connection_age_ms': MAX_CONNECTION_AGE_MS,
    'grpc.max_connection_age_grace_ms': MAX_CONNECTION_AGE_GRACE_MS,
    'grpc.max_connection_idle_ms': MAX_CONNECTION_IDLE_MS,
    interceptors: [halfMessages.interceptor],
  }
}

/** Adds the discovery service in both flavours. @returns the streams that are open, always up to date */
function addAds(server: Server, options: AdsOptions): ReadonlySet<{ fail(err: unknown): void }> {
  const streams = new Set<{ fail(err: unknown): void }>()
  const handler = <Q extends AnyRequest, A extends AnyAnswer>(conversation: () => Conversation<Q, A>) =>
    guard(
      'hub',
      (_error, call) => {
        call.destroy()
      },
      (call: ServerDuplexStream<Q, A>) => {
        const peer = {
          credentials: readCredentials(call),
          ip: readIp(call),
          address: call.getPeer(),
          fail: (reason: MeshError) => call.emit('error', toGrpcStatus(reason)),
        }
        const stream = new AdsStream(call, conversation(), peer, options)
        streams.add(stream)
        call.on(
          'close',
          guard('hub', doNothing, () => {
            streams.delete(stream)
          }),
        )
      },
    )
  server.addService(ADS, {
    DeltaAggregatedResources: handler<DeltaDiscoveryRequest, DeltaDiscoveryResponse>(createDeltaConversation),
    StreamAggregatedResources: handler<DiscoveryRequest, DiscoveryResponse>(createSotwConversation),
  })
  return streams
}

/** With a certificate asked for but not insisted on; createSsl knows only both or neither. */
function serverCredentials(identity: ServerIdentity): ServerCredentials {
  const credentials = experimental.createCertificateProviderServerCredentials(identity, identity, false)
  if (!(credentials instanceof ServerCredentials)) throw new MeshError('MESH_INTERNAL', 'no server credentials')
  return credentials
}

function certificateHandler(p: HubServerOptions, proved: AdsOptions['proved']) {
  return guard(
    'hub',
    doNothing,
    (
      call: ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>,
      answer: sendUnaryData<IstioCertificateResponse>,
    ) => {
      detach('hub', answerCertificate(call, answer, p, proved))
    },
  )
}

async function answerCertificate(
  call: ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>,
  answer: sendUnaryData<IstioCertificateResponse>,
  p: HubServerOptions,
  proved: AdsOptions['proved'],
): Promise<void> {
  const [peer, ip] = [call.getPeer(), readIp(call)]
  try {
    const caller = await p.authenticate(readCredentials(call))
    proved(peer, caller)
    // Nobody would learn of a certificate that counts against the token.
    if (call.cancelled) throw new MeshError('MESH_CONTROL_UNREACHABLE', 'the device has gone')
    answer(null, await answerCertificateRequest(p.certificates, caller, call.request, ip))
  } catch (err) {
    reportCertificateRefused(p, ip, err)
    answer(toGrpcStatus(err))
  }
}
