/** What a connection's client may do by the rules of this moment: a changed policy counts from the next packet on. */
import type { FilterChain } from '../../../model/listener.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Connection } from '../../connection.ts'
import { type Quota, findQuota } from '../session/user-quotas.ts'
import { createAuthorizer } from '../authorization/authorization.ts'
import type { Authorizer, Client } from '../authorization/authorizer.ts'
import type { GroundsOf, PolicyGrounds } from '../authorization/grounds.ts'

/** What follows from a chain, and from its acl file at one moment; made when it is asked for. */
type Known = {
  chain: FilterChain
  readonly grounds: PolicyGrounds
  authorizer: Authorizer | undefined
  /** Undefined: not asked for so far. */
  quota: Quota | 'none' | undefined
}

export class Rules {
  readonly #conn: Connection
  /** Of the time when the connection came. */
  readonly #first: MqttPolicy
  readonly #groundsOf: GroundsOf
  #known: Known | undefined

  constructor(conn: Connection, first: MqttPolicy, groundsOf: GroundsOf) {
    this.#conn = conn
    this.#first = first
    this.#groundsOf = groundsOf
  }

  get grounds(): PolicyGrounds {
    return this.#find().grounds
  }
  findQuota({ client }: { readonly client: Client }): Quota | undefined {
    const known = this.#find()
    known.quota ??= findQuota(known.grounds.policy.quotas, client) ?? 'none'
    return known.quota === 'none' ? undefined : known.quota
  }
  findAuthorizer({ client }: { readonly client: Client }): Authorizer {
    const known = this.#find()
    return (known.authorizer ??= createAuthorizer(known.grounds, client))
  }

  /** Asked twice for each message: with the same chain, only an acl file can have changed. */
  #find(): Known {
    const known = this.#known
    const { chain } = this.#conn
    if (known?.chain === chain && known.grounds.policy.aclFile === undefined) return known
    // A listener keeps its connections when its policy changes (downstream/revalidate.ts).
    const grounds = this.#groundsOf.getCurrent(chain.codec.kind === 'mqtt' ? chain.codec.mqtt : this.#first)
    if (known?.grounds !== grounds) return (this.#known = { chain, grounds, authorizer: undefined, quota: undefined })
    known.chain = chain
    return known
  }
}
