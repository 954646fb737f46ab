/** RBAC policies by chance, on a listener, a virtual host or a route. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { headerMatch, pathOf, stringMatch, templateOf } from '../matches.ts'
import { claimMatch } from './tokens.ts'

const PACKAGE = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3'
const range = (prefix: string, bits: number): JsonObject => ({ address_prefix: prefix, prefix_len: bits })
const RANGES = [range('127.0.0.0', 8), range('9.9.9.9', 32), range('10.0.0.0', 8), range('0.0.0.0', 0), range('::', 0)]

/** `and`, `or` and `not` to this depth. */
const DEPTH = 2
function permission(dice: Dice, depth = DEPTH): JsonObject {
  const several = (): JsonObject[] => [permission(dice, depth - 1), ...dice.times(1, () => permission(dice, depth - 1))]
  if (dice.hits(0.15)) return { metadata: claimMatch(dice) }
  const kind = dice.upTo(depth > 0 ? 9 : 5)
  switch (kind) {
    case 0:
      return { any: true }
    case 1:
    case 2:
      return { header: headerMatch(dice) }
    case 3:
      return { url_path: { path: stringMatch(dice, [pathOf(dice, 2), '/a', '/']) } }
    case 4:
      if (dice.hits(0.4)) return { uri_template: templateOf(dice) }
      return dice.hits(0.5) ? { destination_ip: dice.one(RANGES) } : { destination_port: 1 }
    case 5:
      return { and_rules: { rules: several() } }
    case 6:
      return { or_rules: { rules: several() } }
    default:
      return { not_rule: permission(dice, depth - 1) }
  }
}
function principal(dice: Dice, depth = DEPTH): JsonObject {
  const several = (): JsonObject[] => [principal(dice, depth - 1), ...dice.times(1, () => principal(dice, depth - 1))]
  if (dice.hits(0.2)) return { metadata: claimMatch(dice) }
  const kind = dice.upTo(depth > 0 ? 9 : 6)
  switch (kind) {
    case 0:
    case 1:
      return { any: true }
    case 2:
      return { header: headerMatch(dice) }
    case 3:
      return { url_path: { path: stringMatch(dice, [pathOf(dice, 2), '/a', '/']) } }
    case 4:
      return { [dice.one(['direct_remote_ip', 'remote_ip', 'source_ip'])]: dice.one(RANGES) }
    case 5:
      return { authenticated: dice.hits(0.5) ? {} : { principal_name: { prefix: 'spiffe://' } } }
    case 6:
      return { and_ids: { ids: several() } }
    case 7:
      return { or_ids: { ids: several() } }
    default:
      return { not_id: principal(dice, depth - 1) }
  }
}
function rules(dice: Dice): JsonObject {
  const policy = (): JsonObject => ({
    permissions: [permission(dice), ...dice.times(1, () => permission(dice))],
    principals: [principal(dice), ...dice.times(1, () => principal(dice))],
  })
  return {
    action: dice.one(['ALLOW', 'DENY', 'DENY', 'LOG']),
    policies: Object.fromEntries(dice.times(2, (i) => [`p${i}`, policy()])),
  }
}

export const RBAC = 'envoy.filters.http.rbac'
export function rbacFilter(dice: Dice): JsonObject {
  return { name: RBAC, typed_config: { '@type': `${PACKAGE}.RBAC`, ...(dice.hits(0.6) && { rules: rules(dice) }) } }
}
/** What a virtual host or route says in the filter's place. */
export function rbacOverride(dice: Dice): JsonObject {
  const own = dice.hits(0.8) ? { rbac: { rules: rules(dice) } } : {}
  return { [RBAC]: { '@type': `${PACKAGE}.RBACPerRoute`, ...own } }
}
