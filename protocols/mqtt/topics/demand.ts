/**
 * What a part of the tree of filters asks for: its sessions, and what the subscriptions of each ask for together. A
 * session gets a message once, with the highest QoS of all its subscriptions that match (MQTT 5.0 §3.3.4), so a part
 * whose sessions have all of that already does not have to be searched.
 */
import type { StoredSubscription } from '../durability.ts'

/** Sessions are compared only. */
export type Want = { readonly session: object; readonly bits: number }
/** Too many sessions, or something that every message has to be brought to. */
export const MANY = 'many'
export type Demand = readonly Want[] | typeof MANY

/** More sessions in one part are not told apart. */
export const MAX_WANTS = 8

const RETAIN_AS_PUBLISHED = 8
const LOCAL_SHIFT = 4

/**
 * All but the identifier, so that the bits of several subscriptions together are those of each put together by OR. Those
 * with No Local have bits of their own: they do not count for the session's own messages.
 */
export function findBits({ qos, retainAsPublished, noLocal }: StoredSubscription): number {
  const bits = ((2 << qos) - 1) | (retainAsPublished ? RETAIN_AS_PUBLISHED : 0)
  return noLocal ? bits << LOCAL_SHIFT : bits
}

export function makeDemand(session: object, subscription: StoredSubscription): Demand {
  // Every identifier reaches the client, also one that it has given several times (MQTT 5.0 §3.3.4).
  return subscription.subscriptionId === undefined ? [{ session, bits: findBits(subscription) }] : MANY
}

/** The first one itself when the other asks for nothing more. */
export function joinDemands(one: Demand, other: Demand): Demand {
  if (one === MANY || other === MANY) return MANY
  if (one.length === 0) return other
  let sum: Want[] | undefined
  for (const { session, bits } of other) {
    const all = sum ?? one
    const at = all.findIndex((want) => want.session === session)
    const known = all[at]?.bits ?? 0
    if (at >= 0 && (bits & ~known) === 0) continue
    sum ??= [...one]
    if (at >= 0) sum[at] = { session, bits: known | bits }
    else if (sum.push({ session, bits }) > MAX_WANTS) return MANY
  }
  return sum ?? one
}
