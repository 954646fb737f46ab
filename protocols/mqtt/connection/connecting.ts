/** Who a client is, between its CONNECT and our CONNACK. */
import { MeshError } from '../../../core/errors.ts'
import type { Connection } from '../../connection.ts'
import type { Connect, Packet } from '../codec/packet.ts'
import { NO_BYTES } from '../codec/packet.ts'
import type { BrokerState } from '../state.ts'
import type { Proof } from '../users/authentication.ts'
import { AuthExchange } from './auth-exchange.ts'
import type { Rules } from './rules.ts'

export type ConnectingParts = {
  readonly state: BrokerState
  readonly conn: Connection
  readonly rules: Rules
  readonly send: (packet: Packet) => void
  /** The client is to say something before it is connected. */
  readonly onWait: () => void
}

export class Connecting {
  readonly #p: ConnectingParts
  readonly #ended = new AbortController()
  #exchange: AuthExchange | undefined

  constructor(p: ConnectingParts) {
    this.#p = p
  }

  /** The next packet is for `take`; before, none is. */
  get isWaiting(): boolean {
    return this.#exchange?.isWaiting ?? false
  }
  /** @throws MESH_MQTT_PROTOCOL */
  take(packet: Packet): void {
    this.#exchange?.take(packet)
  }
  /** The connection is over, or connected. */
  end(): void {
    const gone = new MeshError('MESH_CLIENT_GONE', 'the client left before it was connected')
    this.#ended.abort(gone)
    this.#exchange?.end(gone)
  }

  /** Rejects as `authenticate` of users/authentication.ts, or with the end. */
  prove({ username, password, properties }: Connect): Promise<Proof> {
    const { state, conn, rules, send, onWait } = this.#p
    const { authenticationMethod: method, authenticationData: data = NO_BYTES } = properties
    const asking = {
      credentials: {
        username,
        password,
        peer: conn.tls?.peer,
        pskIdentity: conn.tls?.pskIdentity,
        proxied: conn.proxied,
      },
      listener: rules.grounds.policy.listener,
      address: conn.remote.host,
      signal: this.#ended.signal,
    }
    if (method === undefined) return state.authentication.authenticate(asking)
    const exchange = new AuthExchange(method, (packet) => {
      send(packet)
      onWait()
    })
    this.#exchange = exchange
    return state.authentication.authenticateEnhanced(method, data, asking, (step) => exchange.ask(step))
  }
}
