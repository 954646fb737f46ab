/** What the claims of an issuer give, as hub.yaml says. */
import { MeshError } from '../../../core/errors.ts'
import type { Claims } from '../../../core/jwt/verify.ts'
import type { Grant } from '../../registry/console-sessions.ts'
import { ROLES } from '../access.ts'
import type { Newcomer } from '../logins.ts'
import type { OidcSettings } from '../settings.ts'

/** A session keeps those that hub.yaml knew; somebody in a thousand groups does not fill it. */
const MAX_VALUES = 200
const MAX_NAME_CHARS = 128

/** The values of the claim that give something. */
export function readValues(claims: Claims, { claim, roles }: Pick<OidcSettings, 'claim' | 'roles'>): readonly string[] {
  const given = claims[claim]
  const all = new Set((Array.isArray(given) ? given : [given]).filter((one) => typeof one === 'string'))
  return [...new Set(roles.map(({ value }) => value))].filter((value) => all.has(value)).slice(0, MAX_VALUES)
}

/** The same for the same values, in one order: sessions are compared by it. One role a namespace, the highest. */
export function deriveGrants(values: readonly string[], { roles }: Pick<OidcSettings, 'roles'>): readonly Grant[] {
  const byNamespace = new Map<string, Grant>()
  for (const { value, role, namespace } of roles) {
    if (!values.includes(value)) continue
    const before = byNamespace.get(namespace)
    if (!before || ROLES.indexOf(role) > ROLES.indexOf(before.role)) byNamespace.set(namespace, { namespace, role })
  }
  return [...byNamespace.values()].sort((a, b) => (a.namespace < b.namespace ? -1 : 1))
}

export type Person = Omit<Newcomer, 'via' | 'address'>

/** Who the issuer says it is. Throws MESH_CONSOLE_FORBIDDEN: hub.yaml gives them nothing. */
export function describePerson(claims: Claims, settings: OidcSettings): Person {
  const values = readValues(claims, settings)
  const grants = deriveGrants(values, settings)
  const sub = String(claims['sub'])
  if (grants.length === 0)
    throw new MeshError(
      'MESH_CONSOLE_FORBIDDEN',
      `${JSON.stringify(sub)} has none of the values of ${settings.claim} that console.oidc.roles names`,
    )
  return { operator: `oidc:${sub}`, name: findName(claims) ?? sub, grants, claims: values }
}

function findName(claims: Claims): string | undefined {
  const names = ['name', 'preferred_username', 'email'].map((claim) => claims[claim])
  return names.find((name) => typeof name === 'string')?.slice(0, MAX_NAME_CHARS)
}
