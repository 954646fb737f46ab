/** The record of messages that a full queue dropped, for its client and for an upstream broker. */
import type { Drops, Gap } from './durability.ts'

/** @param names whose gap it is */
export function describeGap(names: Readonly<Record<string, string>>, { messages, bytes, fromMs, toMs }: Gap): object {
  return { ...names, messages, bytes, from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() }
}

/** The part of the gap that came after the report `told`. */
export function subtractGap(told: Gap, now: Gap): Gap | undefined {
  if (now.messages <= told.messages) return undefined
  const { messages, bytes, toMs } = now
  return { messages: messages - told.messages, bytes: Math.max(0, bytes - told.bytes), fromMs: told.toMs, toMs }
}

/** By queue, which is one of a route or of a session. */
export function countDrop({ drops }: { readonly drops: Drops }, why: keyof Drops, messages = 1): void {
  if (messages > 0) drops[why] = (drops[why] ?? 0) + messages
}
