/** What a session gets of a topic, of all its subscriptions together. */
import type { StoredSubscription } from '../durability.ts'
import { NO_IDS, type Qos } from '../codec/packet.ts'

/** How one session takes messages of one topic. */
export type View = { readonly qos: Qos; readonly retainAsPublished: boolean; readonly ids: readonly number[] }
export function viewOf(subscriptions: readonly StoredSubscription[]): View {
  let qos: Qos = 0
  let retainAsPublished = false
  let ids: number[] | undefined
  for (const one of subscriptions) {
    if (one.qos > qos) qos = one.qos
    retainAsPublished ||= one.retainAsPublished
    if (one.subscriptionId !== undefined) (ids ??= []).push(one.subscriptionId)
  }
  return { qos, retainAsPublished, ids: ids ?? NO_IDS }
}
