/**
 * The TLS client side: handshake over a stream that is already connected, with the workload's certificate, and the
 * check that the server is who the configuration says. No byte of the caller's goes out before that check.
 */
import net from 'node:net'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError, type ErrorCode } from '../../core/errors.ts'
import { runsOver } from '../../core/os/network.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { Identity, PeerVerification, PeerIdentity, ValidityRules } from '../../model/identity.ts'
import type { UpstreamTls } from '../../model/tls.ts'
import { verifyPeer } from './verify-peer.ts'
import { Lru } from './lru.ts'
import { selectMaterial, type Material } from './material.ts'
import { isPinned, isRevoked, matchesSans, readPeer, type PeerCertificate } from './peer.ts'

export type OriginateOptions = {
  readonly tls: UpstreamTls
  /** The workload's; needed when `tls` uses its certificate or roots. */
  readonly identity: Identity | undefined
  readonly validity?: ValidityRules | undefined
  /**
   * A DNS name or address that the server's certificate must have, beside the names of the settings or, with `instead`,
   * in their place.
   */
  readonly mustBe?: { readonly name: string; readonly instead: boolean } | undefined
  /** In order of preference; empty = none offered. */
  readonly alpn: readonly string[]
  /** SNI; '' or an IP address = none sent. */
  readonly serverName: string
  readonly clock: Clock
  /** For the handshake alone. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Tells servers behind one name apart for session resumption, e.g. "10.0.0.1:8080"; default: the name alone. */
  readonly sessionKey?: string | undefined
}

export type Originated = {
  readonly stream: Duplex
  /** What the server chose; '' = nothing. */
  readonly alpn: string
  /** Undefined when the settings verify nothing and the server's certificate cannot be read. */
  readonly peer: PeerIdentity | undefined
}

/** Distinct certificate and root combinations; a mesh needs few, since clusters differ mostly in names. */
const MAX_CONTEXTS = 64
/** About 2 KiB each. */
const MAX_SESSIONS = 1024
const contexts = new Lru<string, tls.SecureContext>(MAX_CONTEXTS)
/** The certificate is kept beside the ticket: a resumed handshake may not show it again. */
const sessions = new Lru<string, { ticket: Buffer; peer: PeerCertificate | undefined }>(MAX_SESSIONS)

/**
 * Rejects with MESH_NO_IDENTITY, MESH_IDENTITY_EXPIRED (ours), MESH_UPSTREAM_TLS (handshake or chain),
 * MESH_PEER_MISMATCH (chain good, name not expected), MESH_CONNECT_TIMEOUT or the signal's reason. `stream` is
 * destroyed whenever it rejects.
 */
export async function originate(stream: Duplex, options: OriginateOptions): Promise<Originated> {
  try {
    const material = selectMaterial(options.tls, options.identity)
    const expired = material.usesIdentity ? options.validity?.refusal() : undefined
    if (expired) throw expired
    const verification = options.tls.validation && options.validity?.peerVerification()
    const sessionKey = `${material.key} ${options.serverName} ${options.sessionKey ?? ''} ${options.alpn.join()}`
    // A resumed session shows no chain that could be verified.
    const known = verification ? undefined : sessions.get(sessionKey)
    // Nor is one verified anew: it must not outlive the certificate that it was made with.
    const resumed = known?.peer && isExpired(known.peer.identity, options.clock.wallMs()) ? undefined : known
    const socket = tls.connect({
      socket: stream,
      secureContext: contextOf(material),
      rejectUnauthorized: options.tls.validation !== undefined && !verification,
      // Mesh certificates name workloads, not hosts; verifyEndpoint compares the names that the configuration asks for.
      checkServerIdentity: () => undefined,
      ...(options.alpn.length === 0 ? {} : { ALPNProtocols: [...options.alpn] }),
      // RFC 6066 §3: literal addresses are not permitted in server_name.
      ...(options.serverName === '' || net.isIP(options.serverName) !== 0 ? {} : { servername: options.serverName }),
      ...(resumed ? { session: resumed.ticket } : {}),
    })
    runsOver(socket, stream)
    let handshakeBytes = -1
    socket.on(
      'error',
      guard('tls', doNothing, (err: Error) => {
        const why = refusalIn(err, readBytes(stream) === handshakeBytes && options.tls.certificate !== undefined)
        if (why !== undefined) refusals.set(socket, new MeshError('MESH_UPSTREAM_TLS', why, { cause: err }))
      }),
    )
    await waitForHandshake(socket, stream, options)
    if (socket.getProtocol() === 'TLSv1.3') handshakeBytes = readBytes(stream)
    if (verification) verifyServer(socket, verification, options)
    const peer = verifyEndpoint(socket, options, resumed?.peer)
    if (!verification)
      socket.on(
        'session',
        guard(
          'tls',
          () => {
            socket.destroy()
          },
          (ticket: Buffer) => {
            sessions.set(sessionKey, { ticket, peer })
          },
        ),
      )
    return { stream: socket, alpn: socket.alpnProtocol || '', peer: peer?.identity }
  } catch (thrown) {
    stream.destroy()
    throw thrown
  }
}

function contextOf(material: Material): tls.SecureContext {
  const known = contexts.get(material.key)
  if (known) return known
  let made: tls.SecureContext
  try {
    made = tls.createSecureContext(material.options)
  } catch (err) {
    throw new MeshError(
      'MESH_UPSTREAM_TLS',
      `the certificate, key or roots for the cluster cannot be used: ${explainReason(err)}`,
      { cause: err },
    )
  }
  contexts.set(material.key, made)
  return made
}

/** @throws MESH_UPSTREAM_TLS, MESH_CONNECT_TIMEOUT or the signal's reason; `socket` is destroyed then */
export function waitForHandshake(
  socket: tls.TLSSocket,
  under: Duplex,
  { clock, timeoutMs, signal }: Pick<OriginateOptions, 'clock' | 'timeoutMs' | 'signal'>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      timer.cancel()
      signal.removeEventListener('abort', onAbort)
      socket.off('secureConnect', onSecure).off('error', onError).off('close', onClose)
      under.off('error', onError).off('close', onClose)
      settle()
    }
    const fail = (reason: unknown): void =>
      finish(() => {
        socket.destroy()
        reject(reason)
      })
    const onSecure = guard('tls', fail, () => finish(resolve))
    const onError = guard('tls', fail, (err: Error) =>
      fail(new MeshError('MESH_UPSTREAM_TLS', `the TLS handshake failed: ${explainReason(err)}`, { cause: err })),
    )
    const onClose = guard('tls', fail, () =>
      fail(new MeshError('MESH_UPSTREAM_TLS', 'the server closed during the TLS handshake')),
    )
    const onAbort = guard('tls', fail, () => fail(signal.reason))
    const timer = clock.after(timeoutMs, () =>
      fail(new MeshError('MESH_CONNECT_TIMEOUT', `the TLS handshake did not end within ${timeoutMs} ms`)),
    )
    socket.once('secureConnect', onSecure).once('error', onError).once('close', onClose)
    // Over anything but a TCP socket the layers do not pass each other's end on.
    under.once('error', onError).once('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
}

function verifyServer(
  socket: tls.TLSSocket,
  verification: PeerVerification,
  { tls: settings, identity, validity }: OriginateOptions,
): void {
  const certificate = socket.getPeerX509Certificate()
  const untrusted =
    certificate && validity
      ? verifyPeer({
          settings,
          identity,
          rules: validity,
          verification,
          peer: 'server',
          certificate,
          authorized: socket.authorized,
        })
      : 'there is none'
  if (untrusted === undefined) return
  socket.destroy()
  throw new MeshError('MESH_UPSTREAM_TLS', `the server's certificate is not trusted: ${untrusted}`)
}

function verifyEndpoint(
  socket: tls.TLSSocket,
  { tls: settings, mustBe, identity }: OriginateOptions,
  fromSession: PeerCertificate | undefined,
): PeerCertificate | undefined {
  const certificate = socket.getPeerX509Certificate()
  const peer = certificate ? readPeer(certificate) : socket.isSessionReused() ? fromSession : undefined
  const { validation } = settings
  if (!validation) return peer
  if (peer && isRevoked(peer, identity)) {
    socket.destroy()
    throw new MeshError('MESH_UPSTREAM_TLS', "the server's certificate is revoked")
  }
  // A session is resumed under the pins only that it was made with (material.ts).
  if (certificate && !isPinned(validation.pins, certificate)) {
    socket.destroy()
    throw new MeshError('MESH_PEER_MISMATCH', "the server's certificate is none of those that are expected")
  }
  if (peer && (mustBe?.instead || matchesSans(validation.sans, peer)) && (!mustBe || isNamed(mustBe.name, peer)))
    return peer
  socket.destroy()
  if (!peer) throw new MeshError('MESH_PEER_MISMATCH', "the names in the server's certificate cannot be read")
  throw new MeshError(
    'MESH_PEER_MISMATCH',
    `the server proved to be ${shown([...peer.identity.uriSans, ...peer.identity.dnsSans])}, expected ${mustBe && peer && (mustBe.instead || matchesSans(validation.sans, peer)) ? shown([mustBe.name]) : expected(settings)}`,
  )
}

/** RFC 9110 §4.3.4. Without a name there is nothing that it could be. */
function isNamed(name: string, peer: PeerCertificate): boolean {
  return (
    name !== '' &&
    matchesSans(
      [{ type: net.isIP(name) === 0 ? 'dns' : 'ip', match: { kind: 'exact', value: name, ignoreCase: true } }],
      peer,
    )
  )
}

function expected({ validation }: UpstreamTls): string {
  return shown((validation?.sans ?? []).map(({ match }) => (match.kind === 'regex' ? match.regex.source : match.value)))
}
function shown(names: readonly string[]): string {
  const [first, ...others] = names
  if (first === undefined) return 'nobody (no name)'
  return `${first.slice(0, 256)}${others.length === 0 ? '' : ` (or ${others.length} more)`}`
}

/** Alerts of RFC 8446 §6.2. */
const ABOUT_OUR_CERTIFICATE =
  /alert (?:(?:bad|unsupported) certificate|certificate (?:revoked|expired|unknown|required)|unknown ca|access denied|decrypt error)$/
/** Of records of TLS, tickets among them; -2 = it cannot be told. */
function readBytes(under: Duplex): number {
  return under instanceof net.Socket ? under.bytesRead : -2
}
const refusals = new WeakMap<Duplex, MeshError>()
/**
 * @param silent the server has said nothing since our part of the handshake, with our certificate in it. Its alert may
 *   have come, but a write that fails ends the socket before it is read.
 */
function refusalIn(err: Error, silent: boolean): string | undefined {
  if (ABOUT_OUR_CERTIFICATE.test(explainReason(err)))
    return `the server does not accept our certificate: ${explainReason(err)}`
  const { code } = err as NodeJS.ErrnoException
  if (!silent || (code !== 'EPIPE' && code !== 'ECONNRESET')) return undefined
  return `the server closed right after the handshake (${code}): it may not accept our certificate`
}
/**
 * MESH_UPSTREAM_TLS when that is why the stream is over. A server of TLS 1.3 looks at our certificate when our part of
 * the handshake is done and the first request may be on its way (RFC 8446 §4.4.2); it reads nothing of that before it
 * has decided, and never asks again.
 */
export function findRefusal(stream: Duplex): MeshError | undefined {
  return refusals.get(stream)
}

/** Remembers why a stream is about to be ended by us: `findRefusal` says it to whoever is using it. */
export function endFor(stream: Duplex, reason: MeshError): void {
  refusals.set(stream, reason)
}
/**
 * It ended, or never began, because of a certificate that had expired or what is configured here: that says nothing
 * about the endpoint's health.
 */
export function isOurDoing(error: MeshError | undefined): boolean {
  return error !== undefined && OUR_DOING.has(error.code)
}
const OUR_DOING: ReadonlySet<string> = new Set<ErrorCode>([
  'MESH_CLUSTER_BLOCKED',
  'MESH_IDENTITY_EXPIRED',
  'MESH_PEER_EXPIRED',
  'MESH_TLS_FILE',
  'MESH_TLS_SECRET',
])

/** OpenSSL's reason without its file names and addresses. */
export function explainReason(err: unknown): string {
  if (!(err instanceof Error)) return String(err)
  const { reason, code } = err as Error & { reason?: string; code?: string }
  if (reason) return reason.toLowerCase()
  return code?.startsWith('ERR_SSL') ? code : err.message.split('\n')[0]!
}
