/**
 * Where the tunnels of a peer lead (HBONE): to addresses of this node only, and there to ports that its configuration
 * serves. Each is a connection of its own for policies, limits and metrics, with the identity of who opened the tunnel.
 */
import { MeshError } from '../../../core/errors.ts'
import type { Address } from '../../../core/os/network.ts'
import { detach } from '../../../core/defects/guard.ts'
import { ipBytes, parseIpAndPort } from '../../../model/ip.ts'
import type { HboneServer, Listener } from '../../../model/listener.ts'
import { decide, type AuthzFacts } from '../../authz.ts'
import type { ServeTunnel, TunnelHost } from '../../codecs.ts'
import type { Connection } from '../../connection.ts'
import type { Context } from '../../context.ts'
import type { Accepted } from '../connections.ts'
import { choose } from '../filter-chain.ts'
import { matchesSans } from '../../tls/peer.ts'
import { deriveTunnelListener } from './tunnel-listener.ts'

/** What the data path knows of this node. */
export interface OwnPorts {
  /** The addresses under which the mesh knows it. */
  addresses(): readonly string[]
  /** The agent's own: what comes there is sent on, or is nobody's business but the machine's. */
  isReserved(to: Address): boolean
  /** The listener that a connection to that address would get without a tunnel. */
  findInbound(to: Address): Listener | undefined
}
export type TunnelServing = {
  readonly own: OwnPorts
  readonly findInternal: (cluster: string) => Listener | undefined
  readonly serve: (accepted: Accepted, listener: Listener) => Promise<void>
  readonly refused: (by: Connection, error: MeshError) => void
}

/**
 * HTTP/2 over mutual TLS, and nothing else. Throws MESH_TLS_HANDSHAKE, for a peer of another trust domain as well where
 * no control plane says which ones may come.
 */
export function checkTunnelPeer(
  conn: Connection,
  { cluster }: HboneServer,
  { identity }: Pick<Context, 'identity'>,
): Connection {
  const { tls } = conn
  const refuse = (why: string): MeshError => new MeshError('MESH_TLS_HANDSHAKE', `tunnels are not opened: ${why}`)
  if (!tls?.peer) throw refuse('the peer has shown no certificate')
  if (tls.alpn !== 'h2') throw refuse(`the peer speaks ${tls.alpn === '' ? 'no protocol that it names' : tls.alpn}`)
  const [own, its] = [identity.current()?.spiffeId.trustDomain, tls.peer.spiffeId?.trustDomain]
  if (its === undefined || (cluster === undefined && its !== own))
    throw refuse(`the peer is of the trust domain ${its ?? '(none)'}`)
  return conn
}

/** Throws MESH_PEER_NOT_ALLOWED where a handshake with the chain's own settings would have failed for its names. */
export function checkTunnelNames({ chain: { tunnelSans }, tls }: Pick<Connection, 'chain' | 'tls'>): void {
  const identity = tls?.peer
  if (!tunnelSans || (identity && matchesSans(tunnelSans, { identity, ipSans: [] }))) return
  const who = identity?.spiffeId?.uri ?? 'a peer without a name'
  throw new MeshError(
    'MESH_PEER_NOT_ALLOWED',
    `the tunnel is of ${who}, whose certificate has none of the names asked for`,
  )
}

/** As ztunnel has them. */
const [NOT_OURS, NOT_ALLOWED, NOT_THERE] = [400, 401, 503]

export function createTunnelHost(conn: Connection, { cluster }: HboneServer, s: TunnelServing): TunnelHost {
  const refuse = (status: number, error: MeshError): number => {
    s.refused(conn, error)
    return status
  }
  return {
    open: (authority) => {
      const to = parseIpAndPort(authority)
      const where = authority.slice(0, 64)
      if (!to || !isOwnAddress(to.host, conn, s.own))
        return refuse(NOT_OURS, new MeshError('MESH_TUNNEL_TARGET', `a tunnel to ${where} is none to this node`))
      if (s.own.isReserved(to))
        return refuse(
          NOT_OURS,
          new MeshError('MESH_TUNNEL_TARGET', `a tunnel to ${where} would lead to meshlet itself`),
        )
      const listener = cluster === undefined ? derived(s.own.findInbound(to)) : s.findInternal(cluster)
      if (!listener)
        return refuse(NOT_THERE, new MeshError('MESH_NO_FILTER_CHAIN', `no listener takes the tunnel to ${where}`))
      const refusal = refuseAtOnce(listener, to, conn)
      if (refusal) return refuse(refusal.code === 'MESH_PEER_NOT_ALLOWED' ? NOT_ALLOWED : NOT_THERE, refusal)
      return serveTunnel(conn, listener, to, s)
    },
  }
}

function derived(listener: Listener | undefined): Listener | undefined {
  return listener && deriveTunnelListener(listener)
}

/** The address that the peer has connected to, or one by which the mesh knows this node. */
function isOwnAddress(host: string, { local }: Connection, own: OwnPorts): boolean {
  const bytes = String(ipBytes(host))
  return [local.host, ...own.addresses()].some((address) => String(ipBytes(address)) === bytes)
}

/** What plain text can turn out to be, as far as chains tell it apart. */
const SPOKEN = [[], ['http/1.0'], ['http/1.1'], ['h2c']] as const
/**
 * What would be refused whatever is spoken inside, by chains that are chosen and asked again when that is known.
 * A chain whose policies ask for more than is known here does not count.
 */
function refuseAtOnce(listener: Listener, to: Address, conn: Connection): MeshError | undefined {
  const chains = SPOKEN.map((alpn) =>
    choose(listener, {
      destinationIp: to.host,
      destinationPort: to.port,
      sourceIp: conn.remote.host,
      sourcePort: conn.remote.port,
      transport: 'raw_buffer',
      serverName: '',
      alpn,
    }),
  )
  const takesTls = listener.filterChains.some((c) => c.match.transportProtocol === 'tls')
  if (takesTls) return undefined
  if (chains.every((chain) => chain === undefined))
    return new MeshError('MESH_NO_FILTER_CHAIN', `no filter chain of listener ${listener.name} takes port ${to.port}`)
  const facts: AuthzFacts = {
    peer: conn.tls?.peer,
    directRemoteIp: conn.remote.host,
    remoteIp: conn.remote.host,
    destinationIp: to.host,
    destinationPort: to.port,
    serverName: '',
    header: undefined,
    path: undefined,
  }
  const decisions = chains.map((chain) =>
    !chain || chain.codec.kind === 'mqtt' ? undefined : decide(chain.policies, facts),
  )
  const refused = decisions.filter((d) => d !== undefined && !d.allowed)
  const isRefused = chains.every((chain, i) => !chain || decisions[i]?.allowed === false)
  if (!isRefused || refused[0] === undefined || refused[0].allowed) return undefined
  const who = conn.tls?.peer?.spiffeId?.uri ?? conn.remote.host
  const { rule } = refused[0]
  return new MeshError('MESH_PEER_NOT_ALLOWED', `authorization policy refuses ${who} (rule ${rule})`, { rule })
}

function serveTunnel(conn: Connection, listener: Listener, to: Address, s: TunnelServing): ServeTunnel {
  return (stream, over) => {
    const { tls, remote, draining } = conn
    // What the handshake settled was for the connection of the tunnels: of each nothing is known but who it is.
    const facts = tls && { ...tls, alpn: '', serverName: '' }
    const accepted = { stream, local: to, remote, originalDst: to, tunnel: { tls: facts, draining, over } }
    detach('network', s.serve(accepted, listener))
  }
}
