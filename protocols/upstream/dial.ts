/**
 * From an endpoint to a stream that may carry the caller's bytes: TCP, then TLS with the peer's identity checked,
 * within connect_timeout.
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { MeshError } from '../../core/errors.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'
import { staysHere, type Address, type NetStream } from '../../core/os/network.ts'
import { leaveOutReadTicks } from '../../core/os/sockets/read-ticks.ts'
import { selectTransport, type Cluster, type Endpoint } from '../../model/cluster.ts'
import type { CertificatesUsed } from '../../model/identity.ts'
import { withoutPort } from '../../model/tables.ts'
import type { UpstreamTls } from '../../model/tls.ts'
import type { Context } from '../context.ts'
import { getCaptureLoop } from '../capture-loop.ts'
import { getPausedStreams } from '../paused-streams.ts'
import { usesIdentity } from '../certificate-expiry.ts'
import { originate, type OriginateOptions } from '../tls/client.ts'
import { withFiles } from '../tls/with-files.ts'
import { withSecrets } from '../tls/with-secrets.ts'
import { openTunnel } from '../http/connect-proxy.ts'
import { isDirect } from '../../model/ip.ts'
import { dialFirst } from './happy-eyeballs.ts'
import { getHboneDialer } from './hbone/open-tunnel.ts'
import { writeProxyHeader } from './proxy-header.ts'
import { PEER_EXCHANGE } from '../../model/telemetry.ts'
import type { ConnectOptions } from '../upstream-api.ts'

export type Dialed = {
  readonly stream: Duplex
  readonly alpn: string
  readonly certificates: CertificatesUsed
  readonly local: Address
}
export type DialOptions = {
  readonly address: string
  readonly port: number
  readonly speaks: ConnectOptions['speaks']
  readonly exchangesPeers?: boolean | undefined
  readonly host: string | undefined
  readonly through?: ConnectOptions['through']
  readonly makeHeader?: ConnectOptions['makeHeader']
  readonly client?: ConnectOptions['client']
  readonly signal: AbortSignal
}

/** Istio's ALPN filter: what the peer's sidecar tells mesh traffic by. */
const MESH_ALPN = {
  http1: ['istio-http/1.1', 'istio', 'http/1.1'],
  http2: ['istio-h2', 'istio', 'h2'],
  tcp: ['istio'],
} as const

/**
 * Rejects with MESH_CONNECT_FAILED, MESH_CONNECT_TIMEOUT, MESH_CAPTURE_LOOP, MESH_CLUSTER_BLOCKED, MESH_UPSTREAM_TLS,
 * MESH_TLS_FILE, MESH_TLS_SECRET, MESH_PEER_MISMATCH, MESH_NO_IDENTITY, MESH_IDENTITY_EXPIRED or the signal's reason.
 */
export async function dial(
  ctx: Pick<Context, 'network' | 'clock' | 'identity' | 'files' | 'tables' | 'telemetry'>,
  cluster: Cluster,
  endpoint: Endpoint,
  o: DialOptions,
): Promise<Dialed> {
  const startedMs = ctx.clock.monotonicMs()
  const transport = selectTransport(cluster, endpoint)
  if (transport.kind === 'blocked')
    throw new MeshError(
      'MESH_CLUSTER_BLOCKED',
      `cluster ${cluster.name} cannot be taken as it was configured for ${endpoint.address}:${endpoint.port}`,
    )
  const made = await connected(ctx, cluster, endpoint, o)
  const { stream } = made
  stream.on('error', ignore)
  if (transport.header && !o.makeHeader) stream.write(writeProxyHeader(transport.header, o.client, made))
  if (transport.kind === 'plaintext') {
    leaveOutReadTicks(stream)
    getPausedStreams(ctx).watch(stream)
    const certificates = made.certificates ?? { ...NO_CERTIFICATES, staysHere: staysHere(made) }
    return { stream, alpn: '', local: made.local, certificates }
  }
  const { tls, serverName, mustBe } = asked(ctx, transport.tls, endpoint, o, stream)
  const secured = await originate(stream, {
    tls,
    identity: ctx.identity.current(),
    validity: ctx.identity.validity,
    clock: ctx.clock,
    signal: o.signal,
    alpn: alpnFor(tls, o),
    serverName,
    mustBe,
    sessionKey: `${o.address}:${o.port}`,
    timeoutMs: Math.max(1, cluster.connectTimeoutMs - (ctx.clock.monotonicMs() - startedMs)),
  })
  leaveOutReadTicks(secured.stream)
  getPausedStreams(ctx).watch(secured.stream)
  const ofMesh = usesIdentity(tls)
  // Of a server elsewhere that asks for nobody's certificate the handshake is enough.
  const isMutual = ofMesh || tls.certificate !== undefined
  return {
    stream: secured.stream,
    alpn: secured.alpn,
    local: made.local,
    certificates: {
      usesIdentity: ofMesh || made.certificates !== undefined,
      peer: isMutual && tls.validation ? secured.peer : undefined,
      byMeshRoots: tls.validation?.roots.from === 'workload',
      staysHere: staysHere(made),
    },
  }
}
const NO_CERTIFICATES = { usesIdentity: false, peer: undefined, byMeshRoots: false }

type Asked = { readonly tls: UpstreamTls; readonly serverName: string; readonly mustBe: OriginateOptions['mustBe'] }

/**
 * Settings with their secrets and files, and the names that are this connection's alone. Throws MESH_TLS_SECRET or
 * MESH_TLS_FILE; the stream is closed then.
 */
function asked(
  ctx: Pick<Context, 'files' | 'tables'>,
  settings: UpstreamTls,
  endpoint: Endpoint,
  o: DialOptions,
  stream: Duplex,
): Asked {
  const host = hostName(o.host)
  const ofEndpoint = settings.sniOfEndpoint ? nameOf(endpoint) : undefined
  const serverName = ofEndpoint ?? (settings.sni !== '' ? settings.sni : settings.autoSni ? host : '')
  // Envoy knows the host from HTTP alone: of a TCP connection only the chain is verified.
  const mustBe =
    settings.autoSan === 'sni'
      ? { name: serverName, instead: true }
      : settings.autoSan === 'host' && o.speaks !== 'tcp'
        ? { name: host, instead: false }
        : undefined
  try {
    return { tls: withFiles(withSecrets(settings, ctx.tables.get()), ctx.files), serverName, mustBe }
  } catch (thrown) {
    stream.destroy()
    throw thrown
  }
}

/** Envoy: the endpoint's hostname, of a DNS cluster the name that was resolved. */
function nameOf({ hostname, address }: Endpoint): string | undefined {
  return hostname ?? (net.isIP(address) === 0 ? address : undefined)
}

/** `certificates`: of the tunnel that it leads through. */
type Connected = NetStream & { readonly certificates?: CertificatesUsed }

async function connected(
  ctx: Pick<Context, 'network' | 'clock' | 'identity' | 'tables' | 'telemetry'>,
  cluster: Cluster,
  endpoint: Endpoint,
  { address, port, through, makeHeader, client, signal }: DialOptions,
): Promise<Connected> {
  const { clock, identity } = ctx
  const late = new AbortController()
  const timer = clock.after(cluster.connectTimeoutMs, () => late.abort())
  try {
    const either = AbortSignal.any([signal, late.signal])
    const target = { host: nameOf(endpoint) ?? address, port }
    const isNear = !through || isDirect(through.noProxy, target) || isDirect(through.noProxy, { host: address, port })
    const proxy = isNear || endpoint.via ? undefined : through
    const dialed = await reach(ctx, cluster, endpoint, { address, port, proxy, client, signal: either })
    // Where it leads counts, not where the proxy is.
    const made = proxy ? { ...dialed, remote: { host: address, port } } : dialed
    const closed = identity.validity?.onlyLocal()
    try {
      if (proxy) await openTunnel(dialed.stream.on('error', ignore), target, { proxy, signal: either })
      if (closed && !staysHere(made)) throw closed
      if (makeHeader) made.stream.on('error', ignore).write(makeHeader(made))
      if (cluster.discovery.kind === 'original-dst') {
        const own = getCaptureLoop(ctx).dialed(made)
        made.stream.once(
          'close',
          guard('upstream', doNothing, () => {
            own[Symbol.dispose]()
          }),
        )
      }
    } catch (refused) {
      made.stream.destroy()
      throw refused
    }
    return made
  } catch (err) {
    if (err instanceof MeshError) throw err
    if (signal.aborted) throw signal.reason
    if (late.signal.aborted)
      throw new MeshError(
        'MESH_CONNECT_TIMEOUT',
        `${address}:${port} did not accept within ${cluster.connectTimeoutMs} ms (connect_timeout)`,
      )
    throw new MeshError(
      'MESH_CONNECT_FAILED',
      `no connection to ${address}:${port} of cluster ${cluster.name}: ${err instanceof Error ? err.message : String(err)}`,
      { cause: err },
    )
  } finally {
    timer.cancel()
  }
}

type ReachOptions = Pick<DialOptions, 'address' | 'port' | 'client' | 'signal'> & {
  readonly proxy: DialOptions['through']
}
/** A connection to the first address that takes one, to the proxy, or through a tunnel. */
function reach(
  ctx: Pick<Context, 'network' | 'clock' | 'tables' | 'telemetry'>,
  cluster: Cluster,
  endpoint: Endpoint,
  { address, port, proxy, client, signal }: ReachOptions,
): Promise<Connected> {
  const { via, others = [] } = endpoint
  if (via) return getHboneDialer(ctx).dial(ctx, cluster, { ...endpoint, address, port, via }, { signal, client })
  const ways = [{ host: address, port }, ...others.map((o) => ({ host: o.address, port: o.port }))]
  return dialFirst(ctx, proxy ? [proxy.address] : ways, signal, {
    ...(cluster.bindAddress === undefined ? {} : { from: cluster.bindAddress }),
    ...(cluster.keepAlive && { keepAlive: cluster.keepAlive }),
    ...(cluster.happyEyeballs && { order: cluster.happyEyeballs }),
  })
}

/** Peers of the mesh are told what is spoken inside; others get what the cluster configures. */
function alpnFor(
  tls: UpstreamTls,
  { speaks, exchangesPeers }: Pick<DialOptions, 'speaks' | 'exchangesPeers'>,
): readonly string[] {
  if (tls.onlyAlpn) return tls.onlyAlpn
  // Tunnels of the mesh offer HTTP/2 alone (HBONE).
  if (tls.alpnProtocols.join() === 'h2') return tls.alpnProtocols
  if (tls.certificate?.from === 'workload' || tls.alpnProtocols.some((p) => p.startsWith('istio')))
    return exchangesPeers ? [PEER_EXCHANGE, ...MESH_ALPN[speaks]] : MESH_ALPN[speaks]
  if (tls.alpnProtocols.length > 0) return tls.alpnProtocols
  return speaks === 'http2' ? ['h2'] : []
}

/** Without port and brackets. */
function hostName(authority: string | undefined): string {
  return withoutPort(authority ?? '').replace(/^\[(.*)\]$/, '$1')
}
function ignore(): void {
  /* the stream's user sees its close; an error without any listener would end the process */
}
