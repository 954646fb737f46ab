/** Removes messages that expire while their broker is away, so that they take no room from new ones. */
import type { DurableQueue, QueueEntry } from '../durability.ts'
import type { Lane } from './lanes.ts'
import { computeLeftMs } from '../expiry.ts'

const READ_AT_ONCE = 64

/**
 * From the front on, as long as everything there has expired. What the peer may have begun with is left for the
 * connection: QoS 2 has to be completed.
 * Never rejects. @returns how many messages that were */
export async function sweepExpired({ queue, mark }: Pick<Lane, 'queue' | 'mark'>, nowMs: number): Promise<number> {
  let swept = 0
  for (let after = queue.firstSeq - 1; ;) {
    const entries = await readable(queue, after)
    if (entries.length === 0) return swept
    for (const { seq, message, released } of entries) {
      const isBegun = released || seq <= mark.begunSeq || (message.qos === 2 && seq <= mark.seq)
      if (isBegun || computeLeftMs(message, nowMs) > 0) return swept
      queue.done(seq)
      swept++
      after = seq
    }
  }
}

/** A disk that cannot be read is told by who sends. */
async function readable(queue: DurableQueue, afterSeq: number): Promise<readonly QueueEntry[]> {
  try {
    return await queue.read(afterSeq, READ_AT_ONCE)
  } catch {
    return []
  }
}
