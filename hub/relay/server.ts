/**
 * The relay's port: TLS, one WebSocket for each device, and nothing else. Whoever proves nothing has little time and
 * room (door.ts).
 */
import type { IncomingMessage } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { WebSocketServer } from 'ws'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError, toMeshError, type ErrorCode } from '../../core/errors.ts'
import type { Timer } from '../../core/os/clock.ts'
import { DICTIONARY_PROTOCOL } from '../../core/relay/compression.ts'
import { PATH, PROTOCOL } from '../../core/relay/kinds.ts'
import type { AdsOptions } from '../api/ads/stream.ts'
import { admitCaller, type CallerLimits } from '../api/admit-caller.ts'
import { describeHolder, describeKeyCaller, type Caller, type Credentials } from '../api/authenticate.ts'
import type { CertificateService } from '../api/certificate-service.ts'
import { openDoor, type DoorLimits } from '../api/door.ts'
import { readBinding, type ShownProof } from '../api/http/proof-step.ts'
import type { HubApi } from '../api/http/start.ts'
import type { ServerIdentity } from '../api/server-identity.ts'
import { toPlainAddress } from '../api/source-address.ts'
import type { Ca } from '../ca/ca.ts'
import { verifyConnectionProof } from '../enrollment/connection-proof.ts'
import { RENEW_PATH } from '../../model/fleet/enrollment.ts'
import type { ReportIntake } from '../reports/intake.ts'
import type { OpenRegistry } from '../registry/registry.ts'
import { CommandDesk, type OpenStream } from './command-desk.ts'
import { startConnectDesk, type TunnelLimits } from './connect-desk.ts'
import { HeldBytes } from './held-bytes.ts'
import { History } from './history.ts'
import { deriveTicketKeys, SESSION_CONTEXT, TICKET_SEC } from './ticket-keys.ts'
import { NewestSessions } from './newest-sessions.ts'
import { MAX_SILENCE_MS, RelaySession, type RelayPeer } from './session.ts'

export type RelayServerOptions = Omit<AdsOptions, 'proved'> & {
  readonly registry: OpenRegistry
  /** ADDRESS:PORT; port 0 picks a free one. */
  readonly listen: string
  readonly identity: ServerIdentity
  readonly certificates: CertificateService
  readonly ca: Ca
  /** Answers requests at this port, and devices by their keys. */
  readonly api: Pick<HubApi, 'handle' | 'devices' | 'renew'>
  readonly intake: ReportIntake
  readonly maxRequestBytes: number
  readonly limits: DoorLimits & CallerLimits & TunnelLimits & { readonly maxHalfMessageBytes: number }
  /** Folder for the socket of `meshlet-hub connect`. */
  readonly state: string
}
export type RelayServer = AsyncDisposable & { readonly port: number }

const MAX_HEADER_BYTES = 16_384
/** A frame is 16 KiB; agents gather as much into a message. */
const MAX_MESSAGE_BYTES = 256 * 1024
const LOOK_MS = 5_000
const DEFAULT_SILENCE_MS = 60_000
const STATUS: Partial<Record<ErrorCode, string>> = {
  MESH_CONTROL_UNAUTHENTICATED: '401 Unauthorized',
  MESH_TOKEN_INVALID: '401 Unauthorized',
  MESH_CONTROL_FORBIDDEN: '403 Forbidden',
  MESH_CONTROL_SLOW_DOWN: '429 Too Many Requests',
  MESH_CONTROL_UNIMPLEMENTED: '404 Not Found',
  MESH_DRAINING: '503 Service Unavailable',
  MESH_DEVICE_PROOF: '401 Unauthorized',
  MESH_DEVICE_UNKNOWN: '403 Forbidden',
  MESH_DEVICE_PENDING: '403 Forbidden',
  MESH_DEVICE_REVOKED: '403 Forbidden',
}

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function startRelay(p: RelayServerOptions): Promise<RelayServer> {
  const server = createTlsServer(p)
  const renewed = p.identity.onRenewed(() => server.setSecureContext(createContext(p)))
  const door = await openDoor({ ...p, name: 'relay', enter: (socket) => server.emit('connection', socket) })
  const proved: AdsOptions['proved'] = (peer, caller) => admitCaller(door.proved, p.limits, peer, caller)
  const sessions = new Sessions({ ...p, proved })
  const connect = await startConnectDesk({
    ...p,
    open: (device, kind, head) => sessions.openStream(device, kind, head),
  })
  server.on(
    'upgrade',
    guard('hub', doNothing, (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      sessions.accept(request, socket as TLSSocket, head),
    ),
  )
  return {
    port: door.port,
    async [Symbol.asyncDispose]() {
      renewed[Symbol.dispose]()
      await connect[Symbol.asyncDispose]()
      sessions[Symbol.dispose]()
      await door[Symbol.asyncDispose]()
    },
  }
}

/** Asks for a certificate without insisting on one: a device that joins has none. */
function createTlsServer(p: RelayServerOptions): Server {
  const server = createServer({
    ...createContext(p),
    sessionIdContext: SESSION_CONTEXT,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNCallback: ({ protocols }) => (protocols.includes('http/1.1') ? 'http/1.1' : undefined),
    maxHeaderSize: MAX_HEADER_BYTES,
  })
  server.maxRequestsPerSocket = 1
  server.on(
    'request',
    guard('hub', doNothing, (request, response) => p.api.handle.relay(request, response)),
  )
  for (const event of ['tlsClientError', 'clientError'] as const)
    server.on(
      event,
      guard('hub', doNothing, (_error: Error, socket: Duplex) => socket.destroy()),
    )
  return server
}

/** Whole: what is set anew without them falls back to what OpenSSL does by itself. */
function createContext({ identity, ca }: RelayServerOptions) {
  return {
    key: identity.current.keyPem,
    cert: identity.current.chainPem,
    ca: ca.rootsPem,
    minVersion: 'TLSv1.3',
    // The shorter hash first: a resumed handshake has it five times over.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    sessionTimeout: TICKET_SEC,
    ticketKeys: deriveTicketKeys(ca),
  } as const
}

function chooseProtocol(offered: ReadonlySet<string>): string | false {
  return [DICTIONARY_PROTOCOL, PROTOCOL].find((name) => offered.has(name)) ?? false
}

type SessionsOptions = RelayServerOptions & { readonly proved: AdsOptions['proved'] }

class Sessions implements Disposable {
  readonly #p: SessionsOptions
  readonly #websockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    clientTracking: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: chooseProtocol,
  })
  readonly #open = new Set<RelaySession>()
  readonly #newest: NewestSessions
  readonly #desk: CommandDesk
  readonly #history: History
  readonly #held: HeldBytes
  #look: Timer
  #isOver = false

  constructor(p: SessionsOptions) {
    this.#p = p
    this.#history = new History(p.metrics)
    this.#newest = new NewestSessions(p.metrics)
    this.#held = new HeldBytes({
      maxBytes: p.limits.maxHalfMessageBytes,
      maxMessageBytes: p.maxRequestBytes,
      metrics: p.metrics,
      exceeded: () => p.budgets.exceeded('half-messages'),
    })
    p.metrics.gaugeOf('mesh_hub_relay_sessions', 'Devices that are connected over the relay.', () => this.#open.size)
    this.#desk = new CommandDesk({ ...p, open: (device, kind, head) => this.openStream(device, kind, head) })
    this.#look = p.clock.after(LOOK_MS, () => this.#lookAtAll())
  }

  openStream(...[device, kind, head]: Parameters<OpenStream>): ReturnType<OpenStream> {
    return this.#find(device)?.open(kind, head)
  }

  accept(request: IncomingMessage, socket: TLSSocket, head: Buffer): void {
    socket.on('error', doNothing)
    detach(
      'hub',
      this.#enter(request, socket, head).catch((thrown: unknown) => this.#refuse(socket, toMeshError(thrown))),
      () => {
        socket.destroy()
      },
    )
  }

  /** Nobody reads from the socket before the device is known. */
  async #enter(request: IncomingMessage, socket: TLSSocket, head: Buffer): Promise<void> {
    const peer = await this.#authenticate(request, socket)
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      const session = new RelaySession(websocket, peer, {
        ads: this.#p,
        certificates: this.#p.certificates,
        history: this.#history,
        held: this.#held,
        maxRequestBytes: this.#p.maxRequestBytes,
        intake: this.#p.intake,
        answerRequest: (jws) => this.#answerRequest(peer, { jws, path: RENEW_PATH, socket }),
      })
      this.#open.add(session)
      const { caller } = peer
      // Bearers of one token are many devices.
      if (caller.by !== 'token') this.#newest.enter(describeHolder(caller), session)
      websocket.on(
        'close',
        guard('hub', doNothing, () => {
          this.#open.delete(session)
          if (caller.by !== 'token') this.#newest.leave(describeHolder(caller), session)
        }),
      )
    })
  }

  /** A renewal, which is all that a device asks for over the relay. */
  async #answerRequest({ credentials: { key } }: RelayPeer, proof: ShownProof): Promise<Uint8Array> {
    const { devices, renew } = this.#p.api
    if (!key) throw new MeshError('MESH_CONTROL_FORBIDDEN', "the connection was not opened by a device's key")
    const answer = await renew(proof, key.id)
    key.certificate.notAfterMs = await devices.findEndMs(key.id)
    return Buffer.from(JSON.stringify(answer))
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#look.cancel()
    this.#desk[Symbol.dispose]()
    for (const session of this.#open) session[Symbol.dispose]()
  }

  async #authenticate(request: IncomingMessage, socket: TLSSocket): Promise<RelayPeer> {
    this.#checkOpen(socket)
    const url = URL.parse(request.url ?? '', 'wss://hub')
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
    const protocol = chooseProtocol(new Set(offered))
    if (url?.pathname !== PATH || protocol === false)
      throw new MeshError('MESH_CONTROL_UNIMPLEMENTED', `there is only ${PATH} here, for ${PROTOCOL}`)
    const address = `${socket.remoteAddress}:${socket.remotePort}`
    const revision = this.#p.watcher.current
    const { credentials, caller } = await this.#identify(request, socket)
    this.#checkOpen(socket)
    this.#p.proved(address, caller)
    const silenceMs = Number(url.searchParams.get('silence') ?? DEFAULT_SILENCE_MS)
    return {
      credentials,
      caller,
      revision,
      ip: toPlainAddress(socket.remoteAddress ?? ''),
      address,
      withDictionary: protocol === DICTIONARY_PROTOCOL,
      silenceMs: silenceMs > 0 && silenceMs <= MAX_SILENCE_MS ? silenceMs : DEFAULT_SILENCE_MS,
    }
  }

  /** Rejects with MESH_CONTROL_UNAUTHENTICATED, MESH_TOKEN_INVALID, MESH_DEVICE_*. */
  async #identify(
    { headers: { authorization } }: IncomingMessage,
    socket: TLSSocket,
  ): Promise<{ readonly credentials: Credentials; readonly caller: Caller }> {
    const { api, ca } = this.#p
    const proof = verifyConnectionProof(authorization, { binding: readBinding(socket), path: PATH })
    if (proof) {
      const { keyId, position } = proof
      const { device, ...key } = await api.devices.enter(
        { keyId, address: toPlainAddress(socket.remoteAddress ?? '') },
        position,
      )
      return {
        credentials: { certificate: undefined, authorization: [], key },
        caller: {
          ...describeKeyCaller(device, ca.trustDomain),
          // A copy that was found could end the device's own connections by opening more.
          ...(key.certificate.notAfterMs === 0 ? { isBehind: true } : {}),
        },
      }
    }
    const credentials: Credentials = {
      // A resumed session without a certificate counts as authorized, too.
      certificate: socket.authorized ? socket.getPeerCertificate().raw : undefined,
      authorization: authorization === undefined ? [] : [authorization],
    }
    return { credentials, caller: await this.#p.authenticate(credentials) }
  }

  #checkOpen(socket: TLSSocket): void {
    if (this.#isOver) throw new MeshError('MESH_DRAINING', 'the hub is stopping')
    if (socket.destroyed) throw new MeshError('MESH_CONTROL_UNREACHABLE', 'the device has gone')
  }

  #refuse(socket: TLSSocket, reason: MeshError): void {
    this.#p.log.warn({ evt: 'hub.relay-refused', ip: socket.remoteAddress, err: reason }, 'relay refused')
    this.#p.metrics
      .counter('mesh_hub_relay_refused_total', 'Connections to the relay that the hub refused, by code.', ['code'])
      .cell({ code: reason.code }).value++
    const message = reason.code === 'MESH_INTERNAL' ? 'the hub failed; its log says why' : reason.message
    const body = JSON.stringify({ code: reason.code, message })
    const status = STATUS[reason.code] ?? '500 Internal Server Error'
    socket.end(
      `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    )
  }

  /** The newest, where a device has come back before the hub knew that it was gone. */
  #find(device: string): RelaySession | undefined {
    return [...this.#open].findLast((session) => session.nodeNames.includes(device))
  }

  #lookAtAll(): void {
    const nowMs = this.#p.clock.monotonicMs()
    for (const session of this.#open) if (!session.isThere(nowMs)) session.terminate()
    this.#look = this.#p.clock.after(LOOK_MS, () => this.#lookAtAll())
  }
}
