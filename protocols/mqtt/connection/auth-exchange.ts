/**
 * AUTH packets of one exchange (MQTT 5.0 §4.12), between CONNECT and CONNACK or, when a client proves itself anew,
 * between others.
 */
import type { MeshError } from '../../../core/errors.ts'
import type { Auth, Packet } from '../codec/packet.ts'
import { NO_BYTES } from '../codec/packet.ts'
import { REASON, createViolation } from '../codec/reason.ts'

export class AuthExchange {
  readonly method: string
  readonly #send: (packet: Auth) => void
  #waiting: PromiseWithResolvers<Uint8Array> | undefined
  #ended: MeshError | undefined

  constructor(method: string, send: (packet: Auth) => void) {
    this.method = method
    this.#send = send
  }

  /** The client is to say something. */
  get isWaiting(): boolean {
    return this.#waiting !== undefined
  }
  /** Sends `data` and resolves with what the client answers. Rejects when the connection ends. */
  ask(data: Uint8Array): Promise<Uint8Array> {
    if (this.#ended) return Promise.reject(this.#ended)
    this.#waiting = Promise.withResolvers()
    const answer = this.#waiting.promise
    this.#send(this.#packet(REASON.continueAuthentication, data))
    return answer
  }
  /** @throws MESH_MQTT_PROTOCOL */
  take(packet: Packet): void {
    const waiting = this.#waiting
    if (packet.type !== 'auth' || packet.reason !== REASON.continueAuthentication || !waiting)
      throw createViolation(
        REASON.protocolError,
        `${packet.type.toUpperCase()} in the middle of authentication [MQTT-4.12.0-3]`,
      )
    if (packet.properties.authenticationMethod !== this.method)
      throw createViolation(REASON.protocolError, '[MQTT-4.12.0-5] AUTH with another authentication method')
    this.#waiting = undefined
    waiting.resolve(packet.properties.authenticationData ?? NO_BYTES)
  }
  /** The client has proved itself anew. */
  succeed(data: Uint8Array | undefined): void {
    if (!this.#ended) this.#send(this.#packet(REASON.success, data))
  }
  end(why: MeshError): void {
    this.#ended = why
    this.#waiting?.reject(why)
    this.#waiting = undefined
  }

  #packet(reason: number, data: Uint8Array | undefined): Auth {
    return {
      type: 'auth',
      reason,
      properties: { authenticationMethod: this.method, ...(data && { authenticationData: data }) },
    }
  }
}
