/** What has expired while its broker is away makes room for what comes. */
import type { DurableQueue, QueueEntry } from '../durability.ts'
import { leftMs } from '../expiry.ts'

const READ_AT_ONCE = 64

/** From the front on, as long as everything there has expired. Never rejects. @returns how many messages that were */
export async function sweepExpired(queue: DurableQueue, nowMs: number): Promise<number> {
  let swept = 0
  for (let after = queue.firstSeq - 1; ;) {
    const entries = await readable(queue, after)
    if (entries.length === 0) return swept
    for (const { seq, message, released } of entries) {
      if (released || leftMs(message, nowMs) > 0) return swept
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
