/**
 * MQTT over WebSocket (MQTT 5.0 §6, RFC 6455): the upgrade on a stream that is ours, then a Duplex of what the binary
 * frames hold. The request head is parsed here in its smallest form, because node:http would put a whole server between
 * the listener and the stream; frames are `ws`'s work.
 */
import type { Duplex } from 'node:stream'
import { createWebSocketStream, WebSocketServer, type WebSocket } from 'ws'
import type { Clock } from '../../../core/os/clock.ts'
import { parseHostName, isLoopback, isSameHost, isUnforgeable, parseOriginName } from '../../../model/browser.ts'
import { MeshError } from '../../../core/errors.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Abortable } from '../../../core/runtime/notice.ts'

const MAX_HEAD_BYTES = 8 * 1024
const HEAD_END = Buffer.from('\r\n\r\n')

export type UpgradeOptions = {
  readonly clock: Clock
  readonly timeoutMs: number
  readonly maxPacketBytes: number
  readonly aborted: Abortable
  /** Address that the client came to. */ readonly localHost: string
  readonly allowedOrigins: readonly string[]
  /** Bytes of frames that are not whole, and of those that nobody has taken yet. */ readonly onHeld?: OnHeld
}
type OnHeld = (bytes: number) => void

/** @throws MESH_REQUEST_TIMEOUT, MESH_HEADERS_TOO_LARGE, MESH_MALFORMED_INPUT, MESH_ORIGIN_REFUSED, MESH_CLIENT_GONE */
export async function upgrade(
  stream: Duplex,
  { clock, timeoutMs, maxPacketBytes, aborted, localHost, allowedOrigins, onHeld }: UpgradeOptions,
): Promise<Duplex> {
  const { head, rest } = await readHead(stream, clock, timeoutMs, aborted)
  const request = parseHead(head)
  const refusal = refusalOf(request, localHost, allowedOrigins)
  if (refusal) {
    refuse(stream, refusal.code === 'MESH_ORIGIN_REFUSED' ? 403 : 400)
    throw refusal
  }
  return handshake(stream, request, rest, { maxPacketBytes, onHeld })
}

function refusalOf(request: Head, localHost: string, allowedOrigins: readonly string[]): MeshError | undefined {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  if (request.method !== 'GET' || !offered.some(isMqtt) || parseHostName(request.headers['host']) === undefined)
    return new MeshError(
      'MESH_MALFORMED_INPUT',
      '[MQTT-6.0.0-3] the request is no WebSocket upgrade with a Host that offers the subprotocol mqtt or mqttv3.1',
    )
  const foreign = foreignOrigin(request, localHost, allowedOrigins)
  return foreign === undefined ? undefined : new MeshError('MESH_ORIGIN_REFUSED', foreign)
}

/** The second is of clients that are older than MQTT 3.1.1; what is spoken, CONNECT says. */
const isMqtt = (name: string): boolean => name === 'mqtt' || name === 'mqttv3.1'

/** RFC 6455 §4.2, which ws answers. */
function handshake(
  stream: Duplex,
  request: Head,
  rest: Buffer,
  { maxPacketBytes, onHeld }: { readonly maxPacketBytes: number; readonly onHeld: OnHeld | undefined },
): Promise<Duplex> {
  // A frame may hold many packets and a packet many frames [MQTT-6.0.0-2]; the parser bounds packets, this bounds what
  // one frame makes ws gather.
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: Math.max(maxPacketBytes, 64 * 1024),
    handleProtocols: (offered) => [...offered].find(isMqtt) ?? false,
  })
  return new Promise((resolve, reject) => {
    const onClose = guard('websocket', reject, () =>
      reject(new MeshError('MESH_MALFORMED_INPUT', 'the WebSocket handshake is not that of RFC 6455 §4.2.1')),
    )
    stream.once('close', onClose)
    stream.once('finish', onClose)
    const defect = (error: MeshError): void => {
      stream.destroy()
      reject(error)
    }
    const onUpgraded = (socket: WebSocket): void => {
      stream.removeListener('close', onClose)
      stream.removeListener('finish', onClose)
      const frames = openFrameStream(socket)
      if (onHeld) countHeld(stream, socket, frames, onHeld)
      // ws only listens; what readHead paused stays paused until somebody says otherwise.
      stream.resume()
      resolve(frames)
    }
    // ws asks for an http.IncomingMessage and reads method, url and headers of it.
    server.handleUpgrade(
      request as unknown as Parameters<WebSocketServer['handleUpgrade']>[0],
      stream,
      rest,
      guard('websocket', defect, onUpgraded),
    )
  })
}

/** What binary frames hold, as a stream. */
export function openFrameStream(socket: WebSocket): Duplex {
  // [MQTT-6.0.0-1]: ahead of the stream's own listener, so that no text reaches the parser.
  socket.on(
    'message',
    guard(
      'websocket',
      () => {
        frames.destroy()
      },
      (_data: unknown, isBinary: boolean) => {
        if (!isBinary) frames.destroy()
      },
    ),
  )
  const frames = createWebSocketStream(socket)
  // Heard by client.ts; without any listener it would end the process.
  frames.on('error', doNothing)
  return frames
}

/** Less is not told: the next read brings the rest of a frame that was cut in two. */
const COUNTED_BYTES = 4 * 1024

/** ws gathers a frame, and the parts of a message, before anybody sees what is in it. */
function countHeld(raw: Duplex, socket: WebSocket, frames: Duplex, onHeld: OnHeld): void {
  let gathered = 0
  const tell = (): void => {
    const bytes = gathered + frames.readableLength
    onHeld(raw.destroyed || bytes < COUNTED_BYTES ? 0 : bytes)
  }
  const defect = (): void => {
    raw.destroy()
  }
  // Ahead of ws, which tells of what is whole in the chunk.
  raw.prependListener(
    'data',
    guard('websocket', defect, (chunk: Buffer) => {
      gathered += chunk.length
      tell()
    }),
  )
  // Behind the stream of the frames, which has it now.
  socket.on(
    'message',
    guard('websocket', defect, () => {
      gathered = 0
      tell()
    }),
  )
  // What it has is read in the turn that begins.
  frames.on(
    'resume',
    guard('websocket', defect, () => setImmediate(guard('websocket', defect, tell))),
  )
  raw.once('close', guard('websocket', defect, tell))
}

/**
 * Why a web page may not come in; undefined for what is no browser. Its own host is enough (RFC 6455 §10.2), unless
 * anybody's name may have been made to point here: on a loopback address only names count that cannot be.
 */
function foreignOrigin({ headers }: Head, localHost: string, allowed: readonly string[]): string | undefined {
  const { origin, host } = headers
  if (origin === undefined || allowed.includes('*') || allowed.includes(origin)) return undefined
  const [page, asked] = [parseOriginName(origin), parseHostName(host)]
  if (page === undefined || asked === undefined || !isSameHost(page, asked))
    return `a page of ${origin} asked for ${host} (mqtt.allowedOrigins)`
  if (isLoopback(localHost) && !isUnforgeable(asked))
    return `a page of ${origin} asked for this machine under the name ${host} (mqtt.allowedOrigins)`
  return undefined
}

type Head = { readonly method: string; readonly url: string; readonly headers: Readonly<Record<string, string>> }

function readHead(
  stream: Duplex,
  clock: Clock,
  timeoutMs: number,
  aborted: Abortable,
): Promise<{ head: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0)
    const settle = (finish: () => void): void => {
      timer.cancel()
      aborted.removeEventListener('abort', onGone)
      stream.removeListener('data', onData)
      stream.removeListener('end', onGone)
      stream.removeListener('close', onGone)
      stream.pause()
      finish()
    }
    const onGone = guard('websocket', reject, () =>
      settle(() => reject(new MeshError('MESH_CLIENT_GONE', 'the connection ended before the WebSocket upgrade'))),
    )
    const onData = guard(
      'websocket',
      (error) => settle(() => reject(error)),
      (chunk: Buffer) => {
        const before = got.length
        got = Buffer.concat([got, chunk])
        const end = got.indexOf(HEAD_END, Math.max(0, before - 3))
        if (end >= 0 && end <= MAX_HEAD_BYTES)
          settle(() => resolve({ head: got.toString('latin1', 0, end), rest: got.subarray(end + 4) }))
        else if (got.length > MAX_HEAD_BYTES)
          settle(() => {
            refuse(stream, 431)
            reject(
              new MeshError('MESH_HEADERS_TOO_LARGE', `the upgrade request is longer than ${MAX_HEAD_BYTES} bytes`),
            )
          })
      },
    )
    const timer = clock.after(timeoutMs, () =>
      settle(() => {
        refuse(stream, 408)
        reject(new MeshError('MESH_REQUEST_TIMEOUT', 'no WebSocket upgrade within mqtt.limits.connectTimeoutMs'))
      }),
    )
    aborted.addEventListener('abort', onGone, { once: true })
    stream.on('data', onData)
    stream.on('end', onGone)
    stream.on('close', onGone)
  })
}

/**
 * RFC 9112 §2.2, §5: one request line, then `name: value` lines. A name that comes twice is joined with a comma; what
 * is malformed is refused by ws.
 */
function parseHead(head: string): Head {
  const [first = '', ...lines] = head.split('\r\n')
  const [method = '', url = '', version = ''] = first.split(' ')
  if (version !== 'HTTP/1.1') return { method: '', url, headers: {} }
  const headers: Record<string, string> = Object.create(null) as Record<string, string>
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon < 1) return { method: '', url, headers: {} }
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value
  }
  return { method, url, headers }
}

function refuse(stream: Duplex, status: 400 | 403 | 408 | 431): void {
  const text = { 400: 'Bad Request', 403: 'Forbidden', 408: 'Request Timeout', 431: 'Request Header Fields Too Large' }[
    status
  ]
  if (!stream.destroyed) stream.write(`HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
