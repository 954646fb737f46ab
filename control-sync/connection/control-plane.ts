/**
 * How the control plane is reached: addresses in turn, who it must be, and what proves who we are. Shared by the
 * configuration stream and the CA.
 */
import type { ChannelCredentials, ChannelOptions, Metadata } from '@grpc/grpc-js'
import type * as Grpc from '@grpc/grpc-js'
import { isExpired } from '../../core/pki/validity.ts'
import { MeshError } from '../../core/errors.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Identity } from '../../model/identity.ts'
import { type EnvironmentProxy, ipBytes, isDirect } from '../../model/ip.ts'
import { TYPE_URLS, type ResourceKind } from '../../model/snapshot.ts'
import type { ControlNames } from './last-known-addresses.ts'
import { summarizeToken } from './token-claims.ts'
import { withVerification, type CertificateClock } from './verify-server.ts'
import { deriveNames, checkNames, withoutIpName } from './server-name.ts'

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
  /** Looks host names up; undefined: that is left to gRPC. */
  readonly names?: ControlNames | undefined
  /** Of one push; a larger one ends the stream. */
  readonly maxMessageBytes?: number | undefined
  readonly bytes?: ByteCount | undefined
  /** Over the relay: bytes on the wire, of every purpose and of what carries them. */
  readonly wire?: WireCount | undefined
  /** By which time certificates are checked; without it, by the system's clock. */
  readonly certificateClock?: CertificateClock | undefined
  /** Of the environment. Throws MESH_CONFIG_INVALID. */
  readonly findProxy?: (() => EnvironmentProxy | undefined) | undefined
}

const BESIDE_RESOURCES = ['certificate', 'report', 'command', 'tunnel', 'other'] as const
export type BytePurpose = ResourceKind | (typeof BESIDE_RESOURCES)[number]
export const BYTE_PURPOSES: readonly BytePurpose[] = [
  ...(Object.keys(TYPE_URLS) as ResourceKind[]),
  ...BESIDE_RESOURCES,
]
/** Bytes of messages, without the framing of gRPC, HTTP/2, WebSocket and TLS; over the relay compressed. */
export type ByteCount = (purpose: BytePurpose, direction: 'sent' | 'received', bytes: number) => void

export function createByteCount(metrics: Metrics): ByteCount {
  const family = metrics.counter(
    'mesh_control_bytes_total',
    'Message bytes on the link to the control plane, by purpose (a kind of resource, certificate, report, command, tunnel) and direction.',
    ['purpose', 'direction'],
  )
  return (purpose, direction, bytes) => {
    family.cell({ purpose, direction }).value += bytes
  }
}

export type WireCount = (direction: 'sent' | 'received', bytes: number) => void

export function createWireCount(metrics: Metrics): WireCount {
  const family = metrics.counter(
    'mesh_control_wire_bytes_total',
    'Bytes on the wire to the hub over the relay, by direction: messages, frames, WebSocket and TLS; without TCP and IP.',
    ['direction'],
  )
  return (direction, bytes) => {
    family.cell({ direction }).value += bytes
  }
}

/** Loaded when the first connection is made: a start without a link should not pay for it. */
export async function loadGrpc(): Promise<typeof Grpc> {
  return import('@grpc/grpc-js')
}

/** The largest push that is taken unless agent.yaml says otherwise: about 30,000 services. */
export const MAX_MESSAGE_BYTES = 128 * 1024 * 1024
/** istiod closes connections that ping more often than every 15 s, or without a stream (which grpc-js does not). */
const KEEPALIVE_MS = 20_000
const KEEPALIVE_TIMEOUT_MS = 10_000
/**
 * What may be on its way to us (RFC 9113 §6.9). With the 64 KiB of HTTP/2's default a push of 2.5 MB takes forty round
 * trips: half a minute over a satellite. A push of a thousand services fits.
 */
const WINDOW_BYTES = 4 * 1024 * 1024

export function createChannelOptions({
  serverName,
  maxMessageBytes = MAX_MESSAGE_BYTES,
}: ControlPlane): ChannelOptions {
  return {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc-node.flow_control_window': WINDOW_BYTES,
    // http_proxy of this machine may well be meshlet itself.
    'grpc.enable_http_proxy': 0,
    // Each connection has credentials of its own.
    'grpc.use_local_subchannel_pool': 1,
    ...(serverName === undefined ? {} : nameOptions(serverName)),
  }
}
const nameOptions = (name: string): ChannelOptions => ({
  'grpc.ssl_target_name_override': name,
  'grpc.default_authority': name,
})

/** Where a channel goes (a gRPC target) and its options. */
export type Reach = { readonly target: string; readonly options: ChannelOptions }

/**
 * A host with several addresses: all of one family are tried by gRPC in their order, the other family at the next turn.
 * Rejects with MESH_CONTROL_UNREACHABLE for a name that nobody knows.
 */
export async function reach(control: ControlPlane, address: string, turn = 0): Promise<Reach> {
  const options = createChannelOptions(control)
  const colon = address.lastIndexOf(':')
  const [host, port] = [address.slice(0, colon).replace(/^\[|\]$/g, ''), address.slice(colon + 1)]
  const proxy = control.findProxy?.()
  if (proxy && !isDirect(proxy.noProxy, { host, port: Number(port) })) return reachThrough(proxy, { address, options })
  if (!control.names || ipBytes(host)) return { target: address, options }
  const found = await control.names(host)
  const families = [...new Set(found.map(familyOf))]
  const family = families[turn % families.length]
  const several = found
    .filter((a) => familyOf(a) === family)
    .map((a) => (family === 6 ? `[${a}]:${port}` : `${a}:${port}`))
  return {
    target: `ipv${family}:${several.join(',')}`,
    options: control.serverName === undefined ? { ...options, ...nameOptions(host) } : options,
  }
}

/** The proxy resolves the name; grpc-js asks it by CONNECT, and expects the certificate of who is behind it. */
function reachThrough(
  { address: at, credentials }: EnvironmentProxy,
  to: { address: string; options: ChannelOptions },
): Reach {
  const bytes = ipBytes(at.host)
  const host = at.host.includes(':') ? `[${at.host}]` : at.host
  return {
    target: `${bytes ? (bytes.length === 4 ? 'ipv4' : 'ipv6') : 'dns'}:${host}:${at.port}`,
    options: {
      'grpc.default_authority': to.address,
      ...to.options,
      'grpc.http_connect_target': `dns:${to.address}`,
      ...(credentials === undefined ? {} : { 'grpc.http_connect_creds': credentials }),
    },
  }
}

function familyOf(ip: string): 4 | 6 {
  return ipBytes(ip)?.length === 4 ? 4 : 6
}

/**
 * TLS with the workload certificate when there is a valid one. Throws MESH_CONTROL_TLS when roots or certificate cannot
 * be used.
 */
export function createChannelCredentials(
  grpc: typeof Grpc,
  control: ControlPlane,
  identity: Identity | undefined,
): ChannelCredentials {
  const { serverName } = control
  // grpc-js gives the host that it connects to, or the name that it was told to ask for.
  const checkServerIdentity = (host: string, { raw }: { readonly raw: Buffer }): Error | undefined =>
    checkNames(raw, deriveNames(host, host === serverName))
  try {
    const roots = control.roots()
    const [key, chain] = identity ? [Buffer.from(identity.keyPem), Buffer.from(identity.chainPem)] : [null, null]
    if (!control.certificateClock)
      return withoutIpName(grpc.credentials.createSsl(roots, key, chain, { checkServerIdentity }))
    const credentials = withoutIpName(
      grpc.credentials.createSsl(roots, key, chain, { checkServerIdentity, rejectUnauthorized: false }),
    )
    return withVerification(credentials, {
      roots: roots.toString('utf8'),
      certificateClock: control.certificateClock,
      serverName,
    })
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    throw new MeshError('MESH_CONTROL_TLS', 'the roots of the control plane or our own certificate cannot be used', {
      cause,
    })
  }
}

export function createCallMetadata(grpc: typeof Grpc, control: ControlPlane, token: string | undefined): Metadata {
  const metadata = new grpc.Metadata()
  metadata.set('clusterid', control.clusterId)
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

/**
 * What proves who we are: a certificate that is valid now, and else (or when it was refused) the token. Never both:
 * beside a certificate a token does not count.
 */
export type Proof = {
  readonly identity: Identity | undefined
  readonly token: string | undefined
  /** For a message. */ readonly shown: string
}

/** Throws MESH_NO_IDENTITY when there is neither. */
export function chooseProof(
  control: ControlPlane,
  identity: Identity | undefined,
  p: { readonly wallMs: number; readonly certificateRefused: boolean },
): Proof {
  const nowMs = control.certificateClock?.nowMs() ?? p.wallMs
  const valid = identity && !isExpired(identity, nowMs) ? identity : undefined
  const token = !valid || p.certificateRefused ? control.token() : undefined
  // Beside a certificate a token does not count, and one that the server takes for expired ends the handshake.
  if (token !== undefined)
    return { identity: undefined, token, shown: `${summarizeToken(token, p.wallMs)}, and cluster ${control.clusterId}` }
  if (!valid) {
    throw new MeshError(
      'MESH_NO_IDENTITY',
      identity
        ? 'the certificate has expired and there is no join token'
        : 'there is neither a certificate nor a join token',
    )
  }
  return { identity: valid, token: undefined, shown: `the certificate of ${valid.spiffeId.uri}` }
}
