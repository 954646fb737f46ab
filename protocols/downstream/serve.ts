/**
 * The life of one connection, read downward: look at its first bytes, choose the filter chain, do TLS, ask the
 * policies, hand it to the codec, account for it. Every step can refuse; a refusal has a code, a counter and a log
 * line, and ends the connection.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import { takeLease, type Tally } from '../../core/lease.ts'
import { staysHere, type NetStream } from '../../core/os/network.ts'
import { leaveOutReadTicks } from '../../core/os/sockets/read-ticks.ts'
import { containsAddress } from '../../model/ip.ts'
import type { CertificatesUsed } from '../../model/identity.ts'
import type { Policy } from '../../model/policy.ts'
import { type HttpConnectionManager, type Listener, matchesPort } from '../../model/listener.ts'
import { collectFacts, decide, shadowDecisions } from '../authz.ts'
import { reportDecisions } from '../policy-report.ts'
import type { Codecs } from '../codecs.ts'
import { ENDED, type Connection, type Outcome } from '../connection.ts'
import type { ConnectionLimits } from './connection-limits.ts'
import type { Accepted, Connections, TrackedConnection, TunnelOrigin } from './connections.ts'
import { checkTunnelNames, checkTunnelPeer, createTunnelHost, type TunnelServing } from './hbone/tunnel-host.ts'
import type { Context } from '../context.ts'
import { choose, collectInterest, type ChainFacts } from './filter-chain.ts'
import type { ServeMetrics } from './serve-metrics.ts'
import { getCaptureLoop } from '../capture-loop.ts'
import { getPausedStreams } from '../paused-streams.ts'
import { keepTlvs, takeProxyHeader } from './proxy-protocol.ts'
import { countFirstBytes, sniffAgain } from './first-bytes.ts'
import { OPAQUE, sniff, type Sniffed } from './sniff.ts'
import { usesIdentity, type CertificateUse, type CertificateExpiryWatcher } from '../certificate-expiry.ts'
import { logConnection } from '../telemetry/connection-log.ts'
import type { TlsTerminator } from '../tls/server.ts'

export type Serving = {
  /** What is not over. */
  readonly served: Tally
  readonly ctx: Context
  readonly terminator: TlsTerminator
  readonly codecs: Codecs
  readonly connections: Connections
  readonly limits: ConnectionLimits
  readonly expiryWatcher: CertificateExpiryWatcher
  readonly metrics: ServeMetrics
  readonly tunnels: TunnelServing
}

/**
 * Of a connection that is over: garbage, of which the collector sees little. Two thousand of them are a quarter of a
 * small device's memory.
 */
const LEFT_BYTES = 32 * 1024
/** Of one that begins, what it takes and what is garbage at once. */
const BEGUN_BYTES = 16 * 1024

/** What is known of a connection from its first step to its last. */
type Visit = {
  readonly accepted: Accepted
  readonly listener: Listener
  /** Collections of garbage before it. */
  readonly began: number
  live: TrackedConnection | undefined
}
/** In an object: what an async function returns would be waited for. */
type Handed = { readonly ended: Promise<Outcome> }
const HANDED_TO_NOBODY: Handed = { ended: Promise.resolve(ENDED) }

/**
 * Resolves when the connection is over; never rejects. What stands here is in memory as long as the connection: `begin`
 * is over when a codec has it.
 */
export async function serve(accepted: Accepted, listener: Listener, s: Serving): Promise<void> {
  accepted.stream.on('error', ignore)
  const garbage = s.ctx.budget?.garbage
  const visit: Visit = { accepted, listener, began: garbage?.collections ?? 0, live: undefined }
  garbage?.received(BEGUN_BYTES)
  let outcome: Outcome
  const lease = takeLease(s.served)
  try {
    const { ended } = await begin(visit, s)
    outcome = await ended
  } catch (thrown) {
    outcome = { error: toMeshError(thrown) }
  }
  await end(visit, outcome, s)
  lease[Symbol.dispose]()
}

async function begin(visit: Visit, s: Serving): Promise<Handed> {
  const { accepted, listener } = visit
  const live = (visit.live = admit(accepted, listener, s))
  if (accepted.tunnel) live.holds(followTunnel(live, accepted.tunnel))
  else if (accepted.originalDst) live.holds(getCaptureLoop(s.ctx).captured(accepted))
  if ((await identify(live, s)) === 'ended') return HANDED_TO_NOBODY
  const seen = await look(live, s.ctx)
  if (seen === 'ended') return HANDED_TO_NOBODY
  const conn = enter(live, seen)
  if (conn.chain.limits) live.holds(await s.limits.admit(conn, s.codecs))
  await secure(conn, s, accepted.tunnel)
  await askInOrder(conn, s)
  leaveOutReadTicks(conn.stream)
  getPausedStreams(s.ctx).watch(conn.stream)
  live.serves()
  live.holds(s.expiryWatcher.add(new ClientCertificates(live, conn)))
  return await hand(conn, seen, s)
}

async function end({ live, began, ...first }: Visit, codecs: Outcome, { ctx, metrics }: Serving): Promise<void> {
  const { accepted, listener } = live ?? first
  const conn = live?.conn
  const outcome = endOf(live, codecs)
  accepted.tunnel?.over(outcome.error)
  await finished(conn?.stream ?? accepted.stream, outcome, ctx.clock)
  live?.[Symbol.dispose]()
  ctx.budget?.garbage?.left(LEFT_BYTES, began)
  metrics.ended(listener, outcome.error)
  report(accepted, listener, conn, outcome, ctx)
  logConnection({ accepted, listener, conn, error: outcome.error }, ctx)
}

/** Serves a connection of a socket whose listener was removed. */
export function refuse(accepted: NetStream, last: Listener, { ctx, metrics }: Pick<Serving, 'ctx' | 'metrics'>): void {
  accepted.stream.on('error', ignore).destroy()
  const error = new MeshError('MESH_LISTENER_GONE', `listener ${last.name} is no longer configured`)
  metrics.ended(last, error)
  report(accepted, last, undefined, { error }, ctx)
}

/** Behind a load balancer: who it is that comes. */
async function identify(live: TrackedConnection, { connections, ctx }: Serving): Promise<'known' | 'ended'> {
  const { proxyProtocol, name, unixMode, sniff } = live.listener
  if (!proxyProtocol) return 'known'
  const { stream, remote, local } = live.accepted
  if (proxyProtocol.off && matchesPort(proxyProtocol.off, local.port)) {
    connections.comesFrom(live, remote)
    return 'known'
  }
  // Who may connect to a Unix socket, its mode has said.
  const { trusted } = proxyProtocol
  if (unixMode === undefined && trusted && !trusted.some((range) => containsAddress(range, remote.host)))
    throw new MeshError('MESH_PROXY_HEADER', `listener ${name} takes connections from its load balancers only`)
  const header = await takeProxyHeader(stream, {
    ...proxyProtocol,
    clock: ctx.clock,
    timeoutMs: sniff.timeoutMs > 0 ? sniff.timeoutMs : ctx.limits.requestHeadMs,
    onTimeout: sniff.onTimeout,
    draining: live.draining,
    hold: countFirstBytes(remote.host, ctx),
  })
  if (header === 'ended') return 'ended'
  if (proxyProtocol.requiresTls && !header.tls)
    throw new MeshError('MESH_PROXY_HEADER', `listener ${name} takes clients only that came to the balancer with TLS`)
  if (proxyProtocol.believesCertificate) live.proxied = { commonName: header.tls?.commonName }
  live.said = { ...keepTlvs(header.tlvs ?? [], proxyProtocol), meant: header.destination }
  connections.comesFrom(live, header.source ?? remote)
  const closed = ctx.identity.validity?.onlyLocal()
  if (closed && !staysHere(live.accepted)) throw closed
  return 'known'
}

function admit(accepted: Accepted, listener: Listener, { connections, ctx }: Serving): TrackedConnection {
  const closed = ctx.identity.validity?.onlyLocal()
  if (closed && !staysHere(accepted)) throw closed
  return connections.accept(accepted, listener, {
    monotonicMs: ctx.clock.monotonicMs(),
    wallMs: ctx.clock.wallMs(),
  })
}

/**
 * What the client speaks, as far as the chains of its listener can tell it apart. A listener that changes meanwhile may
 * have other questions.
 */
async function look(live: TrackedConnection, ctx: Context): Promise<Sniffed | 'ended'> {
  const { clock, limits } = ctx
  for (;;) {
    const { listener } = live
    const timeoutMs = listener.sniff.timeoutMs > 0 ? listener.sniff.timeoutMs : limits.requestHeadMs
    const seen = await sniff(live.accepted.stream, {
      interest: collectInterest(listener, live.accepted.local.port),
      clock,
      timeoutMs,
      onTimeout: listener.sniff.onTimeout,
      draining: live.draining,
      hold: countFirstBytes(live.accepted.remote.host, ctx),
    })
    if (seen === 'ended' || live.listener === listener) return seen === 'silent' ? OPAQUE : seen
  }
}

/** Chooses the chain. */
function enter(live: TrackedConnection, seen: Sniffed): Connection {
  const {
    listener,
    accepted: { local, remote },
  } = live
  const facts: ChainFacts = {
    destinationIp: local.host,
    destinationPort: local.port,
    sourceIp: remote.host,
    sourcePort: remote.port,
    transport: seen.transport,
    serverName: seen.serverName,
    alpn: seen.alpn,
  }
  const chain = choose(listener, facts)
  if (!chain)
    throw new MeshError(
      'MESH_NO_FILTER_CHAIN',
      `no filter chain of listener ${listener.name} takes ${seen.transport === 'tls' ? `TLS for "${seen.serverName}"` : 'plain text'}`,
    )
  return live.enter(chain, facts)
}

/** It ends in order with the connection that it is a stream of. */
function followTunnel(live: TrackedConnection, { draining }: TunnelOrigin): Disposable {
  const onDraining = guard('network', ignore, () => {
    const reason: unknown = draining.reason
    live.drain(reason instanceof MeshError ? reason : undefined)
  })
  draining.addEventListener('abort', onDraining)
  if (draining.aborted) onDraining()
  return { [Symbol.dispose]: () => draining.removeEventListener('abort', onDraining) }
}

async function secure(conn: Connection, { terminator, ctx }: Serving, tunnel: TunnelOrigin | undefined): Promise<void> {
  const { tls } = conn.chain
  conn.tls = tunnel?.tls
  if (!tls) return
  const { stream, facts } = await terminator.terminate(conn.stream, {
    tls,
    handshakeMs: ctx.limits.tlsHandshakeMs,
    signal: conn.aborted,
  })
  conn.stream = stream
  conn.tls = facts
}

/** Policies (L4) and services of the chain, in the order of its filters; about a connection a service is asked once. */
async function askInOrder(conn: Connection, s: Serving): Promise<void> {
  const { chain } = conn
  const { authz = [], policiesBefore } = chain
  checkTunnelNames(conn)
  let first = 0
  for (const [i, settings] of authz.entries()) {
    const end = policiesBefore?.[i] ?? chain.policies.length
    askPolicies(conn, chain.policies.slice(first, end), s)
    first = end
    const refusal = s.codecs.askService
      ? await s.codecs.askService(conn, settings)
      : new MeshError('MESH_EXT_AUTHZ_UNAVAILABLE', 'there is nobody who could ask')
    if (refusal) throw refusal
  }
  // A push has asked those of its own (revalidate.ts), or has ended the connection.
  if (conn.chain === chain) askPolicies(conn, chain.policies.slice(first), s)
}

/** The chain's own policies (L4), asked again after each configuration change (revalidate.ts). */
export function authorize(conn: Connection, s: Pick<Serving, 'ctx'>): void {
  checkTunnelNames(conn)
  askPolicies(conn, conn.chain.policies, s)
}

function askPolicies(conn: Connection, policies: readonly Policy[], { ctx }: Pick<Serving, 'ctx'>): void {
  if (policies.length === 0) return
  const facts = collectFacts(conn)
  reportDecisions(shadowDecisions(policies, facts), conn, undefined, ctx)
  const decision = decide(policies, facts)
  if (!decision.allowed)
    throw new MeshError(
      'MESH_PEER_NOT_ALLOWED',
      `authorization policy refuses ${conn.tls?.peer?.spiffeId?.uri ?? conn.remote.host} (rule ${decision.rule})`,
      { rule: decision.rule },
    )
}

async function hand(conn: Connection, seen: Sniffed, s: Serving): Promise<Handed> {
  const { codec } = conn.chain
  switch (codec.kind) {
    case 'http': {
      const version = await httpVersion(conn, codec.http, seen, s.ctx)
      if (version === 'ended') return HANDED_TO_NOBODY
      return { ended: version === 2 ? s.codecs.http2(conn) : s.codecs.http1(conn) }
    }
    case 'tcp':
      return { ended: s.codecs.tcp(conn, codec.tcp) }
    case 'mqtt': {
      const transport = codec.transport === 'auto' ? await mqttTransport(conn, s.ctx) : codec.transport
      return transport === 'ended' ? HANDED_TO_NOBODY : { ended: s.codecs.mqtt(conn, codec.mqtt, transport) }
    }
    case 'hbone':
      if (!s.codecs.hbone) throw new MeshError('MESH_CHAIN_BLOCKED', 'tunnels are not ended here')
      return {
        ended: s.codecs.hbone(
          checkTunnelPeer(conn, codec.hbone, s.ctx),
          createTunnelHost(conn, codec.hbone, s.tunnels),
        ),
      }
    case 'blocked':
      throw new MeshError('MESH_CHAIN_BLOCKED', codec.reason)
    default:
      return codec satisfies never
  }
}

/** A WebSocket upgrade begins with a request line, a CONNECT packet with 0x10. */
async function mqttTransport(conn: Connection, ctx: Context): Promise<'tcp' | 'websocket' | 'ended'> {
  const seen = await sniffAgain(conn, { mqtt: true, onTimeout: 'close' }, ctx)
  if (seen === 'ended') return 'ended'
  return seen !== 'silent' && seen.protocol === 'http1' ? 'websocket' : 'tcp'
}

/**
 * By configuration, by ALPN, by what sniffing saw, and last by looking for HTTP/2's preface (RFC 9113 §3.3, prior
 * knowledge).
 */
async function httpVersion(
  conn: Connection,
  http: HttpConnectionManager,
  seen: Sniffed,
  ctx: Context,
): Promise<1 | 2 | 'ended'> {
  if (http.codec !== 'auto') return http.codec === 'http2' ? 2 : 1
  const alpn = conn.tls ? conn.tls.alpn : seen.protocol
  if (alpn === 'h2' || alpn === 'http2') return 2
  if (alpn.startsWith('http')) return 1
  const found = await sniffAgain(conn, { mqtt: false, onTimeout: 'continue' }, ctx)
  if (found === 'ended') return 'ended'
  // Everything else goes to the HTTP/1 codec, which answers with a reason.
  return found !== 'silent' && found.protocol === 'http2' ? 2 : 1
}

/** What the connection rests on from there to its end. */
class ClientCertificates implements CertificateUse {
  readonly side = 'client'
  readonly #live: TrackedConnection
  readonly #conn: Connection

  constructor(live: TrackedConnection, conn: Connection) {
    this.#live = live
    this.#conn = conn
  }
  get certificates(): CertificatesUsed {
    const { chain, tls: settled } = this.#conn
    const isTunnelled = this.#live.accepted.tunnel !== undefined
    return {
      usesIdentity: isTunnelled || (chain.tls !== undefined && usesIdentity(chain.tls)),
      peer: settled?.peer,
      byMeshRoots: (isTunnelled && !chain.tls) || chain.tls?.validation?.roots.from === 'workload',
      staysHere: staysHere(this.#live.accepted),
    }
  }
  drain(reason: MeshError): void {
    this.#live.drain(reason)
  }
  cut(reason: MeshError): void {
    this.#live.abort(reason)
  }
}

/**
 * A codec that ends because it was told to has no error of its own; why it was told is one. And a client that is gone
 * because it was cut off was not the one who went.
 */
function endOf(live: TrackedConnection | undefined, outcome: Outcome): Outcome {
  const reason: unknown = live?.aborted.aborted ? live.aborted.reason : live?.draining.reason
  const isOurs =
    outcome.error === undefined || (live?.aborted.aborted === true && outcome.error.code === 'MESH_CLIENT_GONE')
  return isOurs && reason instanceof MeshError ? { error: reason } : outcome
}

/** A client that takes nothing for so long does not get the rest. */
const FLUSH_IDLE_MS = 30_000

/**
 * Resolves when the stream is closed: after a refusal at once; after a normal end what is still to be written goes out
 * first, as long as it moves.
 */
function finished(stream: Duplex, { error }: Outcome, clock: Clock): Promise<void> {
  if (error || stream.destroyed || stream.writableFinished) {
    stream.destroy()
    return Promise.resolve()
  }
  return new Promise((resolve) => {
    let left = stream.writableLength
    const timer = clock.after(FLUSH_IDLE_MS, () => {
      if (stream.writableLength === left) {
        stream.destroy()
        return
      }
      left = stream.writableLength
      timer.refresh()
    })
    stream.once(
      'close',
      guard('network', ignore, () => {
        timer.cancel()
        resolve()
      }),
    )
    stream.end(() => {
      stream.destroy()
    })
  })
}

function report(
  accepted: NetStream,
  listener: Listener,
  conn: Connection | undefined,
  { error }: Outcome,
  { log, clock }: Context,
): void {
  const { remote } = accepted
  const fields = {
    listener: listener.name,
    conn: conn?.id,
    chain: conn?.chain.name,
    peer: `${remote.host}:${remote.port}`,
    spiffeId: conn?.tls?.peer?.spiffeId?.uri,
    cluster: conn?.cluster,
    receivedBytes: conn?.receivedBytes,
    sentBytes: conn?.sentBytes,
    durationMs: conn && clock.monotonicMs() - conn.startedMs,
  }
  if (!error) log.debug({ evt: 'connection.end', ...fields }, 'connection ended')
  else if (error.code === 'MESH_INTERNAL')
    log.error({ evt: 'connection.failed', ...fields, err: error }, 'connection failed by a defect')
  else if (error.code === 'MESH_DRAINING')
    log.debug({ evt: 'connection.end', ...fields, err: error }, 'connection ended by the agent')
  else if (error.code === 'MESH_CLIENT_GONE')
    log.debug({ evt: 'connection.end', ...fields, err: error }, 'client went away')
  else log.warn({ evt: 'connection.refused', ...fields, err: error }, 'connection refused or broken')
}

function ignore(): void {
  /* heard by whoever reads; an error without any listener would end the process */
}
