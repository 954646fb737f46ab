/** Clients of listeners of mode transparent that are connected to their broker, as an operator sees them. */
import type { MeshError } from '../../../core/errors.ts'
import type { Lease } from '../../../core/lease.ts'
import type { ConnectionFacts } from '../session/connection-facts.ts'
import { nameShare, type Owner } from '../session/owner.ts'
import type { Quota, UserQuotas } from '../session/user-quotas.ts'

export type ProxiedEntry = {
  readonly clientId: string
  readonly owner: Owner
  readonly cluster: string
  readonly facts: ConnectionFacts
  readonly sessionExpirySec: number
  readonly close: (err: MeshError) => void
}

export class ProxiedClients {
  /** Several brokers may have a client of one id, and one has two while the new connection takes over. */
  readonly #byId = new Map<string, Set<ProxiedEntry>>()

  enter(entry: ProxiedEntry): Disposable {
    const { clientId } = entry
    const all = this.#byId.get(clientId) ?? new Set()
    this.#byId.set(clientId, all.add(entry))
    return {
      [Symbol.dispose]: () => {
        all.delete(entry)
        if (all.size === 0) this.#byId.delete(clientId)
      },
    }
  }
  ids(): Iterable<string> {
    return this.#byId.keys()
  }
  of(clientId: string): readonly ProxiedEntry[] {
    return [...(this.#byId.get(clientId) ?? [])]
  }

  /**
   * A connection of its owner. The one with its id at the same broker is about to be ended by that [MQTT-3.1.4-3], and
   * is not counted twice.
   * @throws MESH_MQTT_QUOTA
   */
  countConnection(
    quotas: UserQuotas,
    client: Pick<ProxiedEntry, 'clientId' | 'owner' | 'cluster'> & { readonly address: string },
    quota: Quota | undefined,
  ): Lease {
    const share = nameShare(client.owner, client.address)
    const isTakeover = this.of(client.clientId).some(
      ({ owner, cluster, facts }) => cluster === client.cluster && nameShare(owner, facts.address) === share,
    )
    return quotas.connect(share, { quota, ending: isTakeover ? 1 : 0 })
  }
}
