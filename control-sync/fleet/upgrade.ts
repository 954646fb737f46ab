/** From a TLS connection to a WebSocket of the relay, and what the hub says in place of one. */
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { CATALOGUE, MeshError, type ErrorCode } from '../../core/errors.ts'
import { DICTIONARY_PROTOCOL } from '../../core/relay/compression.ts'
import { PROTOCOL } from '../../core/relay/kinds.ts'
import { toPrintable } from '../../core/printable.ts'
import type { HubAddress } from './hub-address.ts'

const HANDSHAKE_MS = 15_000
const MAX_REFUSAL_BYTES = 4_096
/** Of a WebSocket message: hubs gather frames to 16 KiB. */
const MAX_PAYLOAD_BYTES = 1024 * 1024

export type UpgradeOptions = {
  readonly socket: TLSSocket
  readonly hub: HubAddress
  /** Of the `authorization` header; undefined: the certificate says it. */
  readonly authorization: string | undefined
  /** For a message. */
  readonly shown: string
  readonly silenceMs: number
}

/** RFC 6455 §4.1. Rejects with what the hub says. */
export async function upgrade({ socket, hub, authorization, shown, silenceMs }: UpgradeOptions) {
  const { promise, resolve, reject } = Promise.withResolvers<{ websocket: WebSocket; withDictionary: boolean }>()
  // Few agents need it, and none at its start.
  const ws = await import('ws')
  const host = hub.host.includes(':') ? `[${hub.host}]` : hub.host
  // Of this connection, which is encrypted already.
  const url = `ws://${host}:${hub.port}${hub.path}?silence=${silenceMs}`
  const websocket = new ws.WebSocket(url, [DICTIONARY_PROTOCOL, PROTOCOL], {
    createConnection: () => socket,
    headers: authorization === undefined ? {} : { authorization },
    perMessageDeflate: false,
    maxPayload: MAX_PAYLOAD_BYTES,
    handshakeTimeout: HANDSHAKE_MS,
  })
  const failed = guard('control', reject, (err: Error) =>
    reject(new MeshError('MESH_CONTROL_UNREACHABLE', `${hub.text} does not open a relay: ${err.message}`)),
  )
  websocket.on(
    'unexpected-response',
    guard('control', reject, (_request: unknown, response: IncomingMessage) => {
      detach('control', readRefusal(response, hub.text, shown).then(reject, reject))
    }),
  )
  websocket.on('error', failed)
  websocket.on(
    'open',
    guard('control', reject, () => resolve({ websocket, withDictionary: websocket.protocol === DICTIONARY_PROTOCOL })),
  )
  try {
    return await promise
  } catch (thrown) {
    websocket.on('error', doNothing)
    websocket.terminate()
    socket.destroy()
    throw thrown
  }
}

/** The hub's own answer is `{"code", "message"}`; something else stands in between and says something else. */
async function readRefusal(response: IncomingMessage, address: string, shown: string): Promise<MeshError> {
  let text = ''
  for await (const chunk of response) {
    text += String(chunk)
    if (text.length > MAX_REFUSAL_BYTES) break
  }
  const said = parseRefusal(text)
  if (!said)
    return new MeshError(
      'MESH_CONTROL_UNREACHABLE',
      `${address} answered with status ${response.statusCode} instead of opening a relay`,
    )
  const isUnknown = said.code === 'MESH_CONTROL_UNAUTHENTICATED'
  return new MeshError(said.code, `${address}: ${said.message}${isUnknown ? `; it was shown ${shown}` : ''}`)
}

function parseRefusal(text: string): { readonly code: ErrorCode; readonly message: string } | undefined {
  try {
    const { code, message } = JSON.parse(text) as { code?: unknown; message?: unknown }
    if (typeof code !== 'string' || typeof message !== 'string' || !Object.hasOwn(CATALOGUE, code)) return undefined
    return { code: code as ErrorCode, message: toPrintable(message) }
  } catch {
    return undefined
  }
}
