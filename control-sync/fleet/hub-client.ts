/** Requests of a device to its hub (model/fleet/enrollment.ts), each signed by the device's key for the one connection. */
import http from 'node:http'
import type tls from 'node:tls'
import { detach, guard } from '../../core/defects/guard.ts'
import { CATALOGUE, MeshError, type ErrorCode } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import { MAX_ANSWER_BYTES } from '../../model/fleet/enrollment.ts'
import type { DeviceKey } from './device/device-key.ts'
import { signRequest } from './device/proof.ts'
import { connectToHub, type HubTarget } from './hub-connection.ts'

/** Enough for four round trips of a satellite, three of them the handshakes. */
const TIMEOUT_MS = 20_000
const MAX_TEXT_CHARS = 500

export type HubClientOptions = HubTarget & { readonly key: DeviceKey; readonly clock: Clock }
export type Answer = { readonly status: number; readonly body: Readonly<Record<string, unknown>> }

/**
 * Rejects as `connectToHub`, with MESH_CONTROL_TIMEOUT, MESH_CONTROL_PROTOCOL (an answer that is none), and with what
 * the hub says.
 */
export async function askHub(o: HubClientOptions, path: string, claims: object): Promise<Answer> {
  const abort = new AbortController()
  const late = o.clock.after(TIMEOUT_MS, () =>
    abort.abort(new MeshError('MESH_CONTROL_TIMEOUT', `${o.url.host} did not answer within ${TIMEOUT_MS} ms`)),
  )
  try {
    const socket = await connectToHub(o, abort.signal)
    try {
      const answer = await post(
        socket,
        { path, body: await signRequest(socket, { path, claims, key: o.key }) },
        o,
        abort.signal,
      )
      if (answer.status >= 400) throw toError(answer, o.url.host)
      return answer
    } finally {
      socket.destroy()
    }
  } finally {
    late.cancel()
  }
}

type Request = { readonly path: string; readonly body: string }

function post(
  socket: tls.TLSSocket,
  { path, body }: Request,
  { url }: HubTarget,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void =>
      reject(
        cause instanceof MeshError
          ? cause
          : new MeshError('MESH_CONTROL_UNREACHABLE', `${url.host} ended the connection`, { cause }),
      )
    const request = http.request({
      createConnection: () => socket,
      method: 'POST',
      path,
      headers: {
        host: url.host,
        'content-type': 'application/jose',
        'content-length': Buffer.byteLength(body),
        connection: 'close',
      },
    })
    signal.addEventListener(
      'abort',
      guard('identity', reject, () => {
        request.destroy()
        reject(signal.reason)
      }),
      { once: true },
    )
    request.on('error', guard('identity', reject, fail))
    request.on(
      'response',
      guard('identity', reject, (response: http.IncomingMessage) => {
        detach('identity', collect(response, url.host).then(resolve, fail))
      }),
    )
    request.end(body)
  })
}

async function collect(response: http.IncomingMessage, host: string): Promise<Answer> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > MAX_ANSWER_BYTES)
      throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers with more than ${MAX_ANSWER_BYTES} bytes`)
    parts.push(part)
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'))
    if (typeof body === 'object' && body !== null)
      return { status: response.statusCode ?? 0, body: body as Record<string, unknown> }
  } catch {
    /* told below */
  }
  throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers ${response.statusCode} with something that is no JSON`)
}

/** Codes that the hub may say of us; any other would mean something else here. */
const OF_DEVICE = /^MESH_(?:DEVICE_|TOKEN_INVALID|CONTROL_FORBIDDEN|CONTROL_SLOW_DOWN)/

function toError({ status, body }: Answer, host: string): MeshError {
  const { code, message } = body
  const said = typeof message === 'string' ? message.replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ').slice(0, MAX_TEXT_CHARS) : ''
  if (typeof code === 'string' && OF_DEVICE.test(code) && Object.hasOwn(CATALOGUE, code))
    return new MeshError(code as ErrorCode, `${host} refuses: ${said}`)
  if (status >= 500) return new MeshError('MESH_CONTROL_UNREACHABLE', `${host} answers ${status}: ${said}`)
  return new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers ${status}: ${said}`)
}
