/**
 * The TLS server side: handshake with the client, verified certificate, checked names. Nothing that the client sends is
 * readable before all of it has succeeded.
 */
import { constants } from 'node:crypto'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { runsOver } from '../../core/os/network.ts'
import { guard } from '../../core/defects/guard.ts'
import type { NamedFiles } from '../../core/os/named-files.ts'
import { isExpired } from '../../core/pki/validity.ts'
import type { Identity, IdentitySource, PeerVerification } from '../../model/identity.ts'
import type { Tables } from '../../model/tables.ts'
import type { DownstreamTls } from '../../model/tls.ts'
import type { DownstreamTlsFacts } from '../connection.ts'
import { chooseAlpn } from './alpn.ts'
import { explainReason } from './client.ts'
import { verifyPeer } from './verify-peer.ts'
import { Lru } from './lru.ts'
import { selectMaterial } from './material.ts'
import { isPinned, isRevoked, matchesSans, readPeer } from './peer.ts'
import { describePsk, findPskServer } from './psk.ts'
import { withFiles } from './with-files.ts'
import { withSecrets } from './with-secrets.ts'
import type { Abortable } from '../../core/runtime/notice.ts'

export type Terminated = { readonly stream: Duplex; readonly facts: DownstreamTlsFacts }
export type TerminateOptions = {
  readonly tls: DownstreamTls
  readonly handshakeMs: number
  readonly signal: Abortable
}

/**
 * Different certificate, root, ALPN and version combinations at a time; Istio's inbound chains need three, a gateway one
 * for each certificate.
 */
const MAX_SERVERS = 256
/** A ticket's life. Short, because a resumed handshake does not verify the certificate against the roots again. */
const SESSION_SEC = 300

export class TlsTerminator {
  readonly #clock: Clock
  readonly #identity: IdentitySource
  readonly #files: NamedFiles | undefined
  readonly #tables: (() => Tables) | undefined
  readonly #servers = new Lru<string, tls.Server>(MAX_SERVERS)

  /** @param tables for secrets that settings name; left out: there are none */
  constructor(clock: Clock, identity: IdentitySource, files?: NamedFiles, tables?: () => Tables) {
    this.#clock = clock
    this.#identity = identity
    this.#files = files
    this.#tables = tables
  }

  /**
   * Rejects with MESH_TLS_HANDSHAKE (also when a client certificate is missing, not trusted, expired or has none of the
   * accepted names), MESH_NO_IDENTITY, MESH_IDENTITY_EXPIRED (ours), MESH_TLS_FILE, MESH_TLS_SECRET, MESH_CONFIG_INVALID
   * (unusable key or certificate) or the signal's reason. `raw` is destroyed whenever it rejects.
   */
  async terminate(raw: Duplex, options: TerminateOptions): Promise<Terminated> {
    try {
      // Taken once, so that verification and handshake are about the same identity and the same rules.
      const how: How = {
        settings: withFiles(withSecrets(options.tls, this.#tables?.()), this.#files),
        identity: this.#identity.current(),
        verification: this.#identity.validity?.peerVerification(),
      }
      const { psk } = how.settings
      const server = psk ? findPskServer(psk, how.settings.alpnProtocols) : this.#serverFor(how)
      const socket = await this.#handshake(server, raw, options)
      runsOver(socket, raw)
      socket.on('error', ignore)
      if (psk) return { stream: socket, facts: describePsk(socket) }
      return { stream: socket, facts: this.#verified(socket, how) }
    } catch (thrown) {
      raw.destroy()
      throw thrown
    }
  }

  /**
   * A new identity has a new key, so its server is a new one with new ticket keys, and no session outlives the roots it
   * was verified with.
   */
  #serverFor({ settings, identity, verification }: How): tls.Server {
    const material = selectMaterial(settings, identity)
    const expired = material.usesIdentity ? this.#identity.validity?.refusal() : undefined
    if (expired) throw expired
    const key = verification ? `${material.key} verified here` : material.key
    const known = this.#servers.get(key)
    if (known) return known
    let made: tls.Server
    try {
      made = tls.createServer({
        ...material.options,
        requestCert: settings.validation !== undefined || settings.requireClientCertificate,
        // Envoy without require_client_certificate: none is fine, an invalid one is not (see #verified).
        rejectUnauthorized: settings.requireClientCertificate && !verification,
        // A resumed session shows no chain that could be verified.
        ...(verification ? { secureOptions: constants.SSL_OP_NO_TICKET } : { sessionTimeout: SESSION_SEC }),
        ...(settings.alpnProtocols.length === 0
          ? {}
          : {
              ALPNCallback: ({ protocols }: { protocols: string[] }) => chooseAlpn(settings.alpnProtocols, protocols),
            }),
      })
    } catch (err) {
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `the listener's certificate, key or client roots cannot be used: ${explainReason(err)}`,
        { cause: err },
      )
    }
    this.#servers.set(key, made)
    return made
  }

  #handshake(server: tls.Server, raw: Duplex, { handshakeMs, signal }: TerminateOptions): Promise<tls.TLSSocket> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        timer.cancel()
        signal.removeEventListener('abort', onAbort)
        raw.off('close', onClose)
        settle()
      }
      const fail = (reason: unknown): void =>
        finish(() => {
          raw.destroy()
          reject(reason)
        })
      const onAbort = guard('tls', fail, () => fail(signal.reason))
      // Node closes the stream of a client that it refuses, and says why a moment later.
      const closed = guard('tls', fail, () =>
        fail(new MeshError('MESH_TLS_HANDSHAKE', 'the client closed during the TLS handshake')),
      )
      const onClose = guard('tls', fail, () => {
        setImmediate(closed)
      })
      const timer = this.#clock.after(handshakeMs, () =>
        fail(new MeshError('MESH_TLS_HANDSHAKE', `the TLS handshake did not end within ${handshakeMs} ms`)),
      )
      raw.once('close', onClose)
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) {
        onAbort()
        return
      }
      // A client that ends in the middle of the handshake is gone; half-close is for what comes after it.
      raw.allowHalfOpen = false
      acceptOn(server, raw, {
        secure: guard('tls', fail, (socket: tls.TLSSocket) =>
          finish(() => {
            raw.allowHalfOpen = true
            socket.allowHalfOpen = true
            resolve(socket)
          }),
        ),
        failed: guard('tls', fail, (err: Error, socket: tls.TLSSocket) =>
          fail(new MeshError('MESH_TLS_HANDSHAKE', refusal(err, socket), { cause: err })),
        ),
      })
    })
  }

  #verified(socket: tls.TLSSocket, how: How): DownstreamTlsFacts {
    const {
      settings: { validation, requireClientCertificate },
    } = how
    const certificate = socket.getPeerX509Certificate()
    const peer = certificate && readPeer(certificate)
    const refuse = (why: string): never => {
      socket.destroy()
      throw new MeshError('MESH_TLS_HANDSHAKE', why)
    }
    if (certificate || requireClientCertificate) {
      const untrusted = this.#untrusted(socket, how)
      if (untrusted !== undefined) refuse(`the client's certificate is not trusted: ${untrusted}`)
      if (!peer) refuse("the names in the client's certificate cannot be read")
      else {
        if (isRevoked(peer, how.identity)) refuse("the client's certificate is revoked")
        if (!how.verification && isExpired(peer.identity, this.#clock.wallMs()))
          refuse("the client's certificate has expired since the session began")
        if (certificate && !isPinned(validation?.pins, certificate))
          refuse("the client's certificate is none of those that the listener accepts")
        if (!matchesSans(validation?.sans ?? [], peer))
          refuse(
            `the client proved to be ${(peer.identity.uriSans[0] ?? peer.identity.dnsSans[0] ?? 'nobody').slice(0, 256)}, which the listener does not accept`,
          )
      }
    }
    return {
      serverName: socket.servername || '',
      alpn: socket.alpnProtocol || '',
      version: socket.getProtocol() ?? '',
      peer: peer?.identity,
    }
  }

  #untrusted(socket: tls.TLSSocket, { settings, identity, verification }: How): string | undefined {
    const { validity } = this.#identity
    if (!verification || !validity) return socket.authorized ? undefined : String(socket.authorizationError)
    const certificate = socket.getPeerX509Certificate()
    if (!certificate) return 'there is none'
    return verifyPeer({
      settings,
      identity,
      rules: validity,
      verification,
      peer: 'client',
      certificate,
      authorized: socket.authorized,
    })
  }
}

/**
 * One handshake: what is asked for, with which identity, and by which rules the peer is verified; undefined = OpenSSL's.
 */
type How = {
  readonly settings: DownstreamTls
  readonly identity: Identity | undefined
  readonly verification: PeerVerification | undefined
}
type Sink = { secure(socket: tls.TLSSocket): void; failed(err: Error, socket: tls.TLSSocket): void }

/**
 * Hands one stream to the server and hears of that stream alone. A tls.Server tells nobody which of the streams it was
 * given an event is about, so each stream gets a stand-in that shares everything with the server except where events
 * go. (A bare TLSSocket would be simpler and wrong: it does not refuse clients without a valid certificate.)
 */
function acceptOn(server: tls.Server, raw: Duplex, sink: Sink): void {
  const standIn = Object.create(server) as tls.Server
  Object.defineProperty(standIn, 'emit', {
    value(event: string, ...args: unknown[]): boolean {
      if (event === 'secureConnection') sink.secure(args[0] as tls.TLSSocket)
      else if (event === 'tlsClientError') sink.failed(args[0] as Error, args[1] as tls.TLSSocket)
      else return server.emit(event, ...args)
      return true
    },
  })
  for (const accept of server.listeners('connection'))
    (accept as (this: tls.Server, stream: Duplex) => void).call(standIn, raw)
}

function refusal(err: Error, socket: tls.TLSSocket): string {
  // Typed as an Error, but it is OpenSSL's name of the reason.
  const untrusted = socket.authorizationError as string | Error | null | undefined
  if (untrusted)
    return `the client's certificate is not trusted: ${typeof untrusted === 'string' ? untrusted : untrusted.message}`
  return `the TLS handshake failed: ${explainReason(err)}`
}

function ignore(): void {
  /* the stream's user sees its close; an error without any listener would end the process */
}
