/** What a policy's clients are judged by at this moment: another object when the policy or its acl file is another. */
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { AclFiles } from './acl-files.ts'
import type { Grounds } from './authorization.ts'

export type PolicyGrounds = Grounds & { readonly policy: MqttPolicy }

export class GroundsOf {
  readonly #acls: Pick<AclFiles, 'find'> | undefined
  /** One entry for each policy in force. */
  readonly #known = new WeakMap<MqttPolicy, PolicyGrounds>()

  /** @param acls undefined: no file is readable */
  constructor(acls: Pick<AclFiles, 'find'> | undefined) {
    this.#acls = acls
  }

  getCurrent(policy: MqttPolicy): PolicyGrounds {
    const { aclFile } = policy
    const acl: Grounds['acl'] = aclFile === undefined ? undefined : (this.#acls?.find(aclFile) ?? 'missing')
    const known = this.#known.get(policy)
    if (known && known.acl === acl) return known
    const made = { policy, acl }
    this.#known.set(policy, made)
    return made
  }
}
