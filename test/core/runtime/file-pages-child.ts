/** Prints what it has of files in memory before and after the program's pages are given back, and goes on. */
import fs from 'node:fs'
import path from 'node:path'
import { StorageThread } from '../../../core/storage/thread-handle.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'

const PATIENCE_MS = 10_000
const fileMib = (): number =>
  Number(/^RssFile:\s*(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'latin1'))![1]) / 1024

const thread = new StorageThread({ bundle: undefined })
thread.releaseMemory() // Before there is a thread: nothing.
const { storage } = await openStorageWith(
  { bundle: undefined },
  thread,
)({ path: path.join(process.argv[2]!, 'a.db'), profile: 'balanced', migrations: ['CREATE TABLE a (b)'] })
const fullMib = fileMib()
thread.releaseMemory()
let leastMib = fullMib
const byMs = performance.now() + PATIENCE_MS
while (leastMib > fullMib - 10 && performance.now() < byMs) {
  await new Promise((resolve) => setTimeout(resolve, 5))
  leastMib = Math.min(leastMib, fileMib())
}
await storage.commit([{ sql: 'INSERT INTO a VALUES (1)' }])
const rows = await storage.query({ sql: 'SELECT b FROM a' })
console.log(JSON.stringify({ fullMib, leastMib, rows: rows.length }))
await storage[Symbol.asyncDispose]()
