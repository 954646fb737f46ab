import type { Qos } from '../codec/packet.ts'

/** How one session takes messages of one topic. */
export type View = { readonly qos: Qos; readonly retainAsPublished: boolean; readonly ids: readonly number[] }
