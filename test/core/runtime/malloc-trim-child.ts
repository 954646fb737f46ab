/** A process whose malloc is in pieces: prints what it has of memory when full, when most is freed, and trimmed. */
import path from 'node:path'
import { collectNow } from '../../../core/runtime/full-gc.ts'
import { readOwnBytes } from '../../../core/runtime/memory-usage.ts'
import { StorageThread } from '../../../core/storage/thread-handle.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'

const ownMib = (): number => readOwnBytes() / 2 ** 20
const PATIENCE_MS = 10_000

const thread = new StorageThread({ bundle: undefined })
thread.trimMalloc() // Before there is a thread: nothing.
const { storage } = await openStorageWith(
  { bundle: undefined },
  thread,
)({
  path: path.join(process.argv[2]!, 'a.db'),
  profile: 'balanced',
  migrations: ['CREATE TABLE a (b)'],
})
const kept: Buffer[] = []
function fill(): number {
  const all = Array.from({ length: 5_000 }, () => Buffer.allocUnsafeSlow(20_000).fill(1))
  kept.push(...all.filter((_, i) => i % 50 === 49))
  return ownMib()
}
const fullMib = fill()
collectNow('major')
collectNow('major')
const freedMib = ownMib()
thread.trimMalloc()
const byMs = performance.now() + PATIENCE_MS
while (ownMib() > freedMib - 60 && performance.now() < byMs) await new Promise((resolve) => setTimeout(resolve, 20))
console.log(JSON.stringify({ fullMib, freedMib, trimmedMib: ownMib(), kept: kept.length }))
await storage[Symbol.asyncDispose]()
