/** What a connection's client may do by the rules of this moment: a changed policy counts from the next packet on. */
import type { FilterChain } from '../../../model/listener.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Connection } from '../../connection.ts'
import { type Quota, findQuota } from '../session/user-quotas.ts'
import type { Authorizer, Client } from '../authorization/authorizer.ts'
import type { GroundsOf, PolicyGrounds } from '../authorization/grounds.ts'

export class Rules {
  readonly #conn: Connection
  /** Of the time when the connection came. */
  readonly #first: MqttPolicy
  readonly #groundsOf: GroundsOf
  #known: PolicyGrounds | undefined
  #authorizer: Authorizer | undefined
  #authorizedBy: PolicyGrounds | undefined
  #quota: Quota | undefined
  #quotaBy: MqttPolicy | undefined
  /**
   * With this chain the authorizer and the quota stay: it has no acl file, which changes by itself. Asked twice for each
   * message.
   */
  #authorizedChain: FilterChain | undefined
  #quotaChain: FilterChain | undefined

  constructor(conn: Connection, first: MqttPolicy, groundsOf: GroundsOf) {
    this.#conn = conn
    this.#first = first
    this.#groundsOf = groundsOf
  }

  /** A listener keeps its connections when its policy changes (downstream/revalidate.ts). */
  get #policy(): MqttPolicy {
    const { codec } = this.#conn.chain
    return codec.kind === 'mqtt' ? codec.mqtt : this.#first
  }
  get grounds(): PolicyGrounds {
    const policy = this.#policy
    const known = this.#known
    // Asked for each packet: without an acl file nothing else of them changes.
    if (known?.policy === policy && policy.aclFile === undefined) return known
    this.#known = this.#groundsOf.getCurrent(policy)
    return this.#known
  }
  findQuota({ client }: { readonly client: Client }): Quota | undefined {
    const { chain } = this.#conn
    if (chain === this.#quotaChain) return this.#quota
    this.#quotaChain = chain
    const policy = this.#policy
    if (this.#quotaBy === policy) return this.#quota
    this.#quotaBy = policy
    this.#quota = findQuota(policy.quotas, client)
    return this.#quota
  }
  findAuthorizer(of: { readonly authorizer: (grounds: PolicyGrounds) => Authorizer }): Authorizer {
    const { chain } = this.#conn
    if (this.#authorizer && chain === this.#authorizedChain) return this.#authorizer
    const { grounds } = this
    this.#authorizedChain = grounds.policy.aclFile === undefined ? chain : undefined
    if (this.#authorizer && this.#authorizedBy === grounds) return this.#authorizer
    this.#authorizedBy = grounds
    this.#authorizer = of.authorizer(grounds)
    return this.#authorizer
  }
}
