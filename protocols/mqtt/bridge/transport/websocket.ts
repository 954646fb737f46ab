/** MQTT over WebSocket towards an upstream broker (MQTT 5.0 §6, RFC 6455): the upgrade on a stream that is ours. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import type { Clock } from '../../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../../core/errors.ts'
import { guard } from '../../../../core/defects/guard.ts'
import { openFrameStream } from '../../connection/websocket.ts'

export type WebSocketTarget = {
  /** Host header, with the port where it is not the usual one. */
  readonly host: string
  readonly path: string
  readonly maxPacketBytes: number
  readonly clock: Clock
  readonly timeoutMs: number
  /** The bridge ends. */
  readonly signal: AbortSignal
}

/** @throws MESH_UPSTREAM_PROTOCOL, MESH_UPSTREAM_TIMEOUT, or what aborts it; the stream is destroyed then */
export function openWebSocket(stream: Duplex, o: WebSocketTarget): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${o.host}${o.path}`, 'mqtt', {
      // TLS, where there is some, is below; all that ws and node:http do with it is what every stream can.
      createConnection: () => stream as Socket,
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: Math.max(o.maxPacketBytes, 64 * 1024),
    })
    const settle = (): void => {
      timer.cancel()
      o.signal.removeEventListener('abort', onAbort)
    }
    const fail = (error: MeshError): void => {
      settle()
      stream.destroy()
      reject(error)
    }
    const timer = o.clock.after(o.timeoutMs, () =>
      fail(new MeshError('MESH_UPSTREAM_TIMEOUT', `no WebSocket upgrade within ${o.timeoutMs} ms`)),
    )
    const onAbort = guard('websocket', fail, () => fail(toMeshError(o.signal.reason)))
    o.signal.addEventListener('abort', onAbort, { once: true })
    socket.on(
      'unexpected-response',
      guard('websocket', fail, (_request: unknown, response: { readonly statusCode?: number }) =>
        fail(
          new MeshError(
            'MESH_UPSTREAM_PROTOCOL',
            `the upstream broker answers the WebSocket upgrade of ${o.path} with status ${response.statusCode}`,
          ),
        ),
      ),
    )
    socket.on(
      'error',
      guard('websocket', fail, (cause: Error) =>
        fail(
          new MeshError('MESH_UPSTREAM_PROTOCOL', `no WebSocket with the upstream broker: ${cause.message}`, { cause }),
        ),
      ),
    )
    socket.once(
      'open',
      guard('websocket', fail, () => {
        settle()
        resolve(openFrameStream(socket))
      }),
    )
  })
}
