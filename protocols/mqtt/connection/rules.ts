/** What a connection's client may do by the rules of this moment: a changed policy counts from the next packet on. */
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Connection } from '../../connection.ts'
import type { Authorizer } from '../topics/authorization.ts'

export class Rules {
  readonly #conn: Connection
  /** Of the time when the connection came. */
  readonly #first: MqttPolicy
  #authorizer: Authorizer | undefined
  #authorizedBy: MqttPolicy | undefined

  constructor(conn: Connection, first: MqttPolicy) {
    this.#conn = conn
    this.#first = first
  }

  /** A listener keeps its connections when its policy changes (downstream/revalidate.ts). */
  get policy(): MqttPolicy {
    const { codec } = this.#conn.chain
    return codec.kind === 'mqtt' ? codec.mqtt : this.#first
  }
  authorizer(of: { readonly authorizer: (policy: MqttPolicy) => Authorizer }): Authorizer {
    const { policy } = this
    if (this.#authorizer && this.#authorizedBy === policy) return this.#authorizer
    this.#authorizedBy = policy
    this.#authorizer = of.authorizer(policy)
    return this.#authorizer
  }
}
