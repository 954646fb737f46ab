/**
 * What an operator may: a role in a namespace, or in all. Every route says which it needs (`config.access`), and one
 * step before all of them asks (authorize.ts).
 */
import type { FastifyRequest } from 'fastify'
import type { Grant, Role, Session } from '../registry/console-sessions.ts'

export type Access =
  /** No session is needed: nothing is told and nothing changed that is not for everybody. */
  | { readonly of: 'anyone' }
  /** The role in some namespace; the route shows what `Operator.sees`. */
  | { readonly of: 'some'; readonly role: Role }
  /** The role in all namespaces: it concerns what belongs to none. */
  | { readonly of: 'all'; readonly role: Role }
  /**
   * Of what the request names, by its namespaces; none: it is not there. To see it one of them is enough, and the route
   * shows what `Operator.sees`; to change it the role is needed in each.
   */
  | {
      readonly of: 'named'
      readonly role: Role
      readonly find: (request: FastifyRequest) => Promise<readonly string[]> | readonly string[]
    }

const RANK: Readonly<Record<Role, number>> = { viewer: 1, operator: 2, admin: 3 }
export const ROLES = ['viewer', 'operator', 'admin'] as const satisfies readonly Role[]
export const ALL = '*'

/** Who asks. */
export class Operator {
  readonly session: Session
  readonly #global: number
  readonly #byNamespace = new Map<string, number>()

  constructor(session: Session) {
    this.session = session
    for (const { namespace, role } of session.grants)
      this.#byNamespace.set(namespace, Math.max(RANK[role], this.#byNamespace.get(namespace) ?? 0))
    this.#global = this.#byNamespace.get(ALL) ?? 0
  }

  /** @param namespace `*`: in all */
  may(role: Role, namespace: string): boolean {
    return Math.max(this.#global, this.#byNamespace.get(namespace) ?? 0) >= RANK[role]
  }
  /** In one namespace at least. */
  mayAnywhere(role: Role): boolean {
    return Math.max(0, ...this.#byNamespace.values()) >= RANK[role]
  }
  sees(namespace: string): boolean {
    return this.may('viewer', namespace)
  }
  get seesAll(): boolean {
    return this.sees(ALL)
  }
  /** Those that have grants of their own. */
  get namespaces(): readonly string[] {
    return [...this.#byNamespace.keys()].filter((name) => name !== ALL)
  }
}

export function describeGrants(grants: readonly Grant[]): string {
  return grants
    .map(({ role, namespace }) => `${role} of ${namespace === ALL ? 'all namespaces' : namespace}`)
    .join(', ')
}
