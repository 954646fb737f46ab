/**
 * The life of one connection, read downward: look at its first bytes, choose the filter chain, do TLS, ask the policies, hand it to the
 * codec, account for it. Every step can refuse; a refusal has a code, a counter and a log line, and ends the connection.
 */
import type { Duplex } from 'node:stream'
import { MeshError, toMeshError } from '../agent/core/errors.ts'
import { staysHere, type Address, type NetStream } from '../agent/core/network.ts'
import type { HttpConnectionManager, Listener } from '../agent/model/listener.ts'
import { decide, shadowDecisions, type AuthzFacts } from './authz.ts'
import type { Codecs } from './codecs.ts'
import { ENDED, type Connection, type Outcome } from './connection.ts'
import type { Connections, Live } from './connections.ts'
import type { Context } from './context.ts'
import { choose, interestOf, type ChainFacts } from './filter-chain.ts'
import type { ServeMetrics } from './serve-metrics.ts'
import { ownConnectionsOf } from './own-connections.ts'
import { OPAQUE, sniff, type Sniffed } from './sniff.ts'
import { usesIdentity, type Held, type OpenStandings } from './standing.ts'
import type { TlsTerminator } from './tls/server.ts'

export type Serving = {
  readonly ctx: Context
  readonly terminator: TlsTerminator
  readonly codecs: Codecs
  readonly connections: Connections
  readonly standings: OpenStandings
  readonly metrics: ServeMetrics
}

/** `originalDst`: see Connection. */
export type Accepted = NetStream & { readonly originalDst: Address | undefined }

/** Resolves when the connection is over; never rejects. */
export async function serve(accepted: Accepted, listener: Listener, s: Serving): Promise<void> {
  const { stream } = accepted
  stream.on('error', ignore)
  let live: Live | undefined
  let outcome: Outcome = ENDED
  let held: Disposable | undefined
  let captured: Disposable | undefined
  try {
    captured = admit(accepted, s)
    const seen = await look(stream, listener, s.ctx)
    if (seen === 'ended') return
    live = enter(accepted, listener, seen, s)
    await secure(live.conn, s)
    authorize(live.conn, s)
    s.connections.served(live)
    held = s.standings.add(heldOf(live, accepted))
    outcome = await hand(live.conn, seen, s)
  } catch (thrown) {
    outcome = { error: toMeshError(thrown) }
  } finally {
    if (live) s.connections.close(live)
    held?.[Symbol.dispose]()
    captured?.[Symbol.dispose]()
    finish(live?.conn.stream ?? stream, outcome)
    outcome = endOf(live?.conn, outcome)
    s.metrics.ended(listener, outcome.error)
    report(accepted, listener, live?.conn, outcome, s.ctx)
  }
}

/** Who came to a socket whose listener the configuration took away. */
export function refuse(accepted: NetStream, last: Listener, { ctx, metrics }: Pick<Serving, 'ctx' | 'metrics'>): void {
  accepted.stream.on('error', ignore).destroy()
  const error = new MeshError('MESH_LISTENER_GONE', `listener ${last.name} is no longer configured`)
  metrics.ended(last, error)
  report(accepted, last, undefined, { error }, ctx)
}

/** @returns what is to be disposed of when a captured connection is over */
function admit(accepted: Accepted, { connections, ctx }: Serving): Disposable | undefined {
  const closed = ctx.identity.validity?.onlyLocal()
  if (closed && !staysHere(accepted)) throw closed
  if (connections.size >= ctx.limits.maxConnections) throw new MeshError('MESH_LISTENER_FULL', `${ctx.limits.maxConnections} connections are open (limits.maxConnections)`)
  return accepted.originalDst && ownConnectionsOf(ctx).captured(accepted)
}

/** What the client speaks, as far as the listener's chains can tell it apart. */
async function look(stream: Duplex, listener: Listener, { clock, limits }: Context): Promise<Sniffed | 'ended'> {
  const timeoutMs = listener.sniff.timeoutMs > 0 ? listener.sniff.timeoutMs : limits.requestHeadMs
  const seen = await sniff(stream, { interest: interestOf(listener), clock, timeoutMs, onTimeout: listener.sniff.onTimeout })
  return seen === 'silent' ? OPAQUE : seen
}

/** Chooses the chain and makes the connection known: from here on a configuration change reaches it. */
function enter({ local, remote, originalDst, stream }: Accepted, listener: Listener, seen: Sniffed, { ctx, connections }: Serving): Live {
  const facts: ChainFacts = {
    destinationIp: local.host, destinationPort: local.port, sourceIp: remote.host, sourcePort: remote.port,
    transport: seen.transport, serverName: seen.serverName, alpn: seen.alpn,
  }
  const chain = choose(listener, facts)
  if (!chain) throw new MeshError('MESH_NO_FILTER_CHAIN', `no filter chain of listener ${listener.name} takes ${seen.transport === 'tls' ? `TLS for "${seen.serverName}"` : 'plain text'}`)
  return connections.open({ local, remote, originalDst, startedMs: ctx.clock.wallMs(), listener, chain, stream, facts })
}

async function secure(conn: Connection, { terminator, ctx }: Serving): Promise<void> {
  const { tls } = conn.chain
  if (!tls) return
  const { stream, facts } = await terminator.terminate(conn.stream, { tls, handshakeMs: ctx.limits.tlsHandshakeMs, signal: conn.aborted })
  conn.stream = stream
  conn.tls = facts
}

/** The chain's own policies (L4). Also asked again after each configuration change (recheck.ts). */
export function authorize(conn: Connection, { ctx, metrics }: Pick<Serving, 'ctx' | 'metrics'>): void {
  const { policies } = conn.chain
  if (policies.length === 0) return
  const facts = authzFactsOf(conn)
  for (const dry of shadowDecisions(policies, facts)) {
    if (!dry.wouldAllow) { metrics.shadowDenied.value++; ctx.log.debug({ evt: 'authz.shadow', conn: conn.id, rule: dry.rule }, 'dry-run policy would refuse') }
  }
  const decision = decide(policies, facts)
  if (!decision.allowed) throw new MeshError('MESH_PEER_NOT_ALLOWED', `authorization policy refuses ${conn.tls?.peer?.spiffeId?.uri ?? conn.remote.host} (rule ${decision.rule})`)
}

function authzFactsOf({ tls, remote, local, offered }: Connection): AuthzFacts {
  return {
    peer: tls?.peer, directRemoteIp: remote.host, remoteIp: remote.host, destinationIp: local.host, destinationPort: local.port,
    serverName: tls?.serverName ?? offered.serverName, header: undefined, path: undefined,
  }
}

async function hand(conn: Connection, seen: Sniffed, s: Serving): Promise<Outcome> {
  const { codec } = conn.chain
  switch (codec.kind) {
    case 'http': {
      const version = await httpVersion(conn, codec.http, seen, s.ctx)
      if (version === 'ended') return ENDED
      return version === 2 ? s.codecs.http2(conn) : s.codecs.http1(conn)
    }
    case 'tcp': return s.codecs.tcp(conn, codec.tcp)
    case 'mqtt': return s.codecs.mqtt(conn, codec.mqtt, codec.transport)
    case 'blocked': throw new MeshError('MESH_CHAIN_BLOCKED', codec.reason)
    default: return codec satisfies never
  }
}

/** By configuration, by ALPN, by what sniffing saw, and last by looking for HTTP/2's preface (RFC 9113 §3.3, prior knowledge). */
async function httpVersion(conn: Connection, http: HttpConnectionManager, seen: Sniffed, { clock, limits }: Context): Promise<1 | 2 | 'ended'> {
  if (http.codec !== 'auto') return http.codec === 'http2' ? 2 : 1
  const alpn = conn.tls ? conn.tls.alpn : seen.protocol
  if (alpn === 'h2' || alpn === 'http2') return 2
  if (alpn.startsWith('http')) return 1
  const found = await sniff(conn.stream, { interest: { tls: false, http: true, mqtt: false }, clock, timeoutMs: limits.requestHeadMs, onTimeout: 'continue' })
  if (found === 'ended') return 'ended'
  // What is neither goes to the HTTP/1 codec, which answers with a reason.
  return found !== 'silent' && found.protocol === 'http2' ? 2 : 1
}

/** What the connection rests on from here to its end. */
function heldOf(live: Live, accepted: NetStream): Held {
  const { conn } = live
  const { tls } = conn.chain
  return {
    side: 'client',
    standing: { usesIdentity: tls !== undefined && usesIdentity(tls), peer: conn.tls?.peer, byMeshRoots: tls?.validation?.roots.from === 'workload', staysHere: staysHere(accepted) },
    drain: (reason) => live.drain(reason), cut: (reason) => live.abort(reason),
  }
}

/** A codec that ends because it was told to has no error of its own; why it was told is one. */
function endOf(conn: Connection | undefined, outcome: Outcome): Outcome {
  const reason: unknown = conn?.draining.reason
  return outcome.error === undefined && reason instanceof MeshError ? { error: reason } : outcome
}

/** After a refusal the peer gets a close at once; after a normal end what is still to be written goes out first. */
function finish(stream: Duplex, { error }: Outcome): void {
  if (stream.destroyed) return
  if (error || stream.writableFinished) { stream.destroy(); return }
  stream.end(() => { stream.destroy() })
}

function report(accepted: NetStream, listener: Listener, conn: Connection | undefined, { error }: Outcome, { log, clock }: Context): void {
  const { remote } = accepted
  const fields = {
    listener: listener.name, conn: conn?.id, chain: conn?.chain.name, peer: `${remote.host}:${remote.port}`, spiffeId: conn?.tls?.peer?.spiffeId?.uri, cluster: conn?.cluster,
    receivedBytes: conn?.receivedBytes, sentBytes: conn?.sentBytes, durationMs: conn && Math.max(0, clock.wallMs() - conn.startedMs),
  }
  if (!error) log.debug({ evt: 'connection.end', ...fields }, 'connection ended')
  else if (error.code === 'MESH_INTERNAL') log.error({ evt: 'connection.failed', ...fields, err: error }, 'connection failed by a defect')
  else if (error.code === 'MESH_CLIENT_GONE') log.debug({ evt: 'connection.end', ...fields, err: error }, 'client went away')
  else log.warn({ evt: 'connection.refused', ...fields, err: error }, 'connection refused or broken')
}

function ignore(): void { /* heard by whoever reads; an error without any listener would end the process */ }
