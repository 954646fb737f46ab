/** How the control plane is reached: addresses in turn, who it must be, and what proves who we are. Shared by the configuration stream and the CA. */
import type { ChannelCredentials, ChannelOptions, Metadata } from '@grpc/grpc-js'
import type * as Grpc from '@grpc/grpc-js'
import { MeshError } from '../agent/core/errors.ts'
import type { Identity } from '../agent/model/identity.ts'
import { tokenSummary } from './token-claims.ts'

export type ControlPlane = {
  /** HOST:PORT, tried in turn. */
  readonly addresses: readonly string[]
  /** Name in the server's certificate; default: the host of the address. */
  readonly serverName: string | undefined
  readonly clusterId: string
  /** PEM; read at each connection, so that a new file is picked up. Throws MESH_CONFIG_INVALID. */
  roots(): Buffer
  /** The join token as it is now; undefined when there is none. */
  token(): string | undefined
}

/** Loaded when the first connection is made: a start without a link should not pay for it. */
export async function loadGrpc(): Promise<typeof Grpc> { return import('@grpc/grpc-js') }

/** The largest push that is taken: about 30,000 services. */
const MAX_MESSAGE_BYTES = 128 * 1024 * 1024
/** istiod closes connections that ping more often than every 15 s. */
const KEEPALIVE_MS = 20_000
const KEEPALIVE_TIMEOUT_MS = 10_000

export function channelOptions({ serverName }: ControlPlane): ChannelOptions {
  return {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES, 'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': KEEPALIVE_MS, 'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    // http_proxy of this machine may well be meshlet itself.
    'grpc.enable_http_proxy': 0,
    // Each connection has credentials of its own.
    'grpc.use_local_subchannel_pool': 1,
    ...(serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName }),
  }
}

/** TLS with the workload certificate when there is a valid one. Throws MESH_CONTROL_TLS when roots or certificate cannot be used. */
export function channelCredentials(grpc: typeof Grpc, control: ControlPlane, identity: Identity | undefined): ChannelCredentials {
  try {
    return identity
      ? grpc.credentials.createSsl(control.roots(), Buffer.from(identity.keyPem), Buffer.from(identity.chainPem))
      : grpc.credentials.createSsl(control.roots())
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    throw new MeshError('MESH_CONTROL_TLS', 'the roots of the control plane or our own certificate cannot be used', { cause })
  }
}

export function callMetadata(grpc: typeof Grpc, control: ControlPlane, token: string | undefined): Metadata {
  const metadata = new grpc.Metadata()
  metadata.set('clusterid', control.clusterId)
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

/** What proves who we are: a certificate that is valid now, and else (or when it was refused) the token. Never both: beside a certificate a token does not count. */
export type Proof = { readonly identity: Identity | undefined; readonly token: string | undefined; /** For a message. */ readonly shown: string }

/** Throws MESH_NO_IDENTITY when there is neither. */
export function proofOf(control: ControlPlane, identity: Identity | undefined, p: { readonly wallMs: number; readonly certificateRefused: boolean }): Proof {
  const valid = identity && identity.notAfterMs > p.wallMs ? identity : undefined
  const token = !valid || p.certificateRefused ? control.token() : undefined
  if (token !== undefined) return { identity: undefined, token, shown: tokenSummary(token, p.wallMs) }
  if (!valid) {
    throw new MeshError('MESH_NO_IDENTITY', identity ? 'the certificate has expired and there is no join token' : 'there is neither a certificate nor a join token')
  }
  return { identity: valid, token: undefined, shown: `the certificate of ${valid.spiffeId.uri}` }
}
