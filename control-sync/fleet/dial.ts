/** A TLS connection to the hub, directly or through an HTTP proxy, to a server that is who it should be. */
import type net from 'node:net'
import tls from 'node:tls'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import { ipBytes } from '../../model/ip.ts'
import type { Identity } from '../../model/identity.ts'
import type { ControlPlane } from '../connection/control-plane.ts'
import { checkNames, deriveNames } from '../connection/server-name.ts'
import { explainCertificate, explainUntrusted, type CertificateClock } from '../connection/verify-server.ts'
import type { HubAddress } from './hub-address.ts'
import { openTcpPath, waitForEvent } from './tcp-path.ts'
import type { TlsSessions } from './tls-sessions.ts'
import type { WireMeter } from './wire-meter.ts'

export type DialOptions = {
  readonly control: ControlPlane
  readonly hub: HubAddress
  /** Shown to the hub. */
  readonly identity: Identity | undefined
  readonly certificateClock: CertificateClock
  readonly clock: Clock
  readonly sessions: TlsSessions
  readonly wire: WireMeter
}

const DIAL_MS = 15_000
/**
 * The session's secret comes from a handshake that was safe from quantum computers (X25519MLKEM768), and is part of the
 * new one's: repeating that exchange would cost 2.3 kB and add nothing (RFC 8446 §7.1).
 */
const RESUMED = { ecdhCurve: 'X25519', ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384' }

/** Rejects with MESH_CONTROL_UNREACHABLE, MESH_CONTROL_TIMEOUT, MESH_CONTROL_TLS or MESH_CONFIG_INVALID (roots). */
export async function dialHub(o: DialOptions): Promise<tls.TLSSocket> {
  const { hub, control, clock } = o
  const abort = new AbortController()
  const late = clock.after(DIAL_MS, () =>
    abort.abort(new MeshError('MESH_CONTROL_TIMEOUT', `${hub.text} did not answer within ${DIAL_MS} ms`)),
  )
  let socket: net.Socket | undefined
  try {
    const { host, port } = hub
    const lookup = control.names && lookupWith(control.names)
    socket = await openTcpPath({ host, port, proxy: control.findProxy?.(), lookup }, abort.signal)
    o.wire.enter(socket)
    return await secure(socket, o, abort.signal)
  } catch (thrown) {
    socket?.destroy()
    if (thrown instanceof MeshError) throw thrown
    const message = (thrown as Error).message
    throw new MeshError('MESH_CONTROL_UNREACHABLE', `${hub.text} cannot be reached: ${message}`, { cause: thrown })
  } finally {
    late.cancel()
  }
}

async function secure(socket: net.Socket, o: DialOptions, signal: AbortSignal): Promise<tls.TLSSocket> {
  const { control, identity, hub, sessions, certificateClock } = o
  const roots = control.roots().toString('utf8')
  const name = control.serverName ?? hub.host
  const names = deriveNames(name, name === control.serverName)
  const peer = `${hub.text} ${identity?.serial ?? ''}`
  const kept = sessions.find(peer)
  // Roots, names and dates may be others than when it began, and OpenSSL does not look again.
  const isGood = kept && explainCertificate(kept.certificate, names, { roots, certificateClock }) === undefined
  const before = isGood === true ? kept : undefined
  const secured = tls.connect({
    socket,
    ca: roots,
    ...(identity && { key: identity.keyPem, cert: identity.chainPem }),
    ...(ipBytes(name) ? {} : { servername: name }),
    ...(before && { session: before.session, ...RESUMED, ...(identity ? {} : { sigalgs: 'ECDSA+SHA256' }) }),
    // Who it is, is decided below, by a clock that may be another than the system's.
    rejectUnauthorized: false,
    // Over a socket that is open already, node:tls would ask for `localhost` where no name is asked for.
    checkServerIdentity: (_host, { raw }) => checkNames(raw, names),
    minVersion: 'TLSv1.3',
    // Who takes the ticket is the hub that gave it: there is nothing left to agree on.
    ...(before ? {} : { ALPNProtocols: ['http/1.1'] }),
  })
  const tickets = gatherTickets(secured)
  try {
    await waitForEvent(secured, 'secureConnect', signal)
  } catch (cause) {
    sessions.forget(peer)
    if (cause instanceof MeshError) throw cause
    throw new MeshError('MESH_CONTROL_TLS', `${hub.text}: ${(cause as Error).message}`, { cause })
  }
  const isResumed = before !== undefined && secured.isSessionReused()
  const why = isResumed ? undefined : explainUntrusted(secured, names, { roots, certificateClock })
  // A handshake that was made short and turned out to be a whole one is not gone on from: the next is long.
  if (before && !isResumed) sessions.forget(peer)
  const certificate = isResumed ? before.certificate : secured.getPeerX509Certificate()
  if (why === undefined) {
    if (certificate && (isResumed || !before)) tickets((session) => sessions.keep(peer, { session, certificate }))
    return secured
  }
  secured.destroy()
  throw new MeshError('MESH_CONTROL_TLS', `${hub.text}: ${why}`)
}

/** They come at any time, with the end of the handshake, too. @returns takes the newest, and those that come later */
function gatherTickets(socket: tls.TLSSocket): (take: (session: Buffer) => void) => void {
  let newest: Buffer | undefined
  let taken: ((session: Buffer) => void) | undefined
  const onSession = (session: Buffer): void => {
    newest = session
    taken?.(session)
  }
  socket.on('session', guard('control', doNothing, onSession))
  return (take) => {
    taken = take
    if (newest) take(newest)
  }
}

function lookupWith(names: NonNullable<ControlPlane['names']>): net.LookupFunction {
  return (host, { all }, done) => {
    detach(
      'control',
      names(host).then(
        guard('control', doNothing, (found) => {
          const addresses = found.map((address) => ({ address, family: ipBytes(address)?.length === 4 ? 4 : 6 }))
          if (all === true) done(null, addresses)
          else done(null, addresses[0]?.address ?? '', addresses[0]?.family ?? 4)
        }),
        guard('control', doNothing, (thrown: Error) => done(thrown, [])),
      ),
    )
  }
}
