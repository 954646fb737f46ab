/** A connected client that proves its user anew, by the same method (MQTT 5.0 §4.12.1). Everything else goes on meanwhile. */
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import { toPrintable } from '../../../core/printable.ts'
import type { Connection } from '../../connection.ts'
import type { Auth } from '../codec/packet.ts'
import { NO_BYTES } from '../codec/packet.ts'
import { REASON, createViolation } from '../codec/reason.ts'
import type { BrokerState } from '../state.ts'
import type { Proof } from '../users/authentication.ts'
import { AuthExchange } from './auth-exchange.ts'
import type { Rules } from './rules.ts'

export type ReauthenticationParts = {
  readonly state: BrokerState
  readonly conn: Connection
  /** By which the user was proved first. */
  readonly method: string | undefined
  readonly link: { readonly outbox: { writePacket(packet: Auth): void }; close(err: MeshError): void }
  readonly rules: Rules
  readonly admitted: { readonly proof: Proof }
}

export class Reauthentication {
  readonly #p: ReauthenticationParts
  readonly #ended = new AbortController()
  #proof: Proof
  #exchange: AuthExchange | undefined

  constructor(p: ReauthenticationParts) {
    this.#p = p
    this.#proof = p.admitted.proof
  }

  /** The newest. */
  get proof(): Proof {
    return this.#proof
  }
  /** @throws MESH_MQTT_PROTOCOL */
  take(packet: Auth): void {
    const { method } = this.#p
    if (method === undefined)
      throw createViolation(REASON.protocolError, '[MQTT-4.12.0-6] AUTH without an authentication method')
    if (this.#exchange) {
      this.#exchange.take(packet)
      return
    }
    const { authenticationMethod: said, authenticationData: data = NO_BYTES } = packet.properties
    if (packet.reason !== REASON.reAuthenticate || said !== method)
      throw createViolation(REASON.protocolError, '[MQTT-4.12.1-1] AUTH of another reason or method')
    detach('mqtt', this.#prove(method, data), (error) => this.#p.link.close(error))
  }
  end(): void {
    const gone = new MeshError('MESH_CLIENT_GONE', 'the connection is over')
    this.#ended.abort(gone)
    this.#exchange?.end(gone)
  }

  async #prove(method: string, data: Uint8Array): Promise<void> {
    const { state, conn, rules, link } = this.#p
    const exchange = new AuthExchange(method, (packet) => link.outbox.writePacket(packet))
    this.#exchange = exchange
    const asking = { listener: rules.grounds.policy.listener, address: conn.remote.host, signal: this.#ended.signal }
    try {
      const proof = await state.authentication.authenticateEnhanced(method, data, asking, (step) => exchange.ask(step))
      if (proof.user?.name !== this.#proof.user?.name)
        throw new MeshError(
          'MESH_MQTT_USER_ENDED',
          `the session is that of user ${toPrintable(this.#proof.user?.name ?? '')}`,
        )
      this.#proof = proof
      exchange.succeed(proof.serverData)
    } catch (thrown) {
      if (this.#ended.signal.aborted) return
      const err = toMeshError(thrown)
      // DISCONNECT has no 0x86 (§3.14.2.1).
      link.close(
        err.code === 'MESH_MQTT_BAD_CREDENTIALS'
          ? new MeshError('MESH_MQTT_USER_ENDED', err.message, { cause: err })
          : err,
      )
    } finally {
      this.#exchange = undefined
    }
  }
}
