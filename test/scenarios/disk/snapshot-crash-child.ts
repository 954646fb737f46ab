/**
 * The process of snapshot-crash.test.ts: opens what there is, saves two generations and copies after each; what was
 * promised stands in the file `notes`.
 */
import fs from 'node:fs'
import path from 'node:path'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { createSealer } from '../../../core/pki/sealing.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import { openSnapshotStore } from '../../../control-sync/snapshot/store.ts'
import type { Save } from '../../../control-sync/snapshot/types.ts'

/** Some pages; all resources of a generation carry its number. */
export const savedAs = (generation: number): Save => ({
  node: 'n',
  generation,
  savedAtMs: generation * 1_000,
  contactAtMs: undefined,
  changedAtMs: { cluster: generation * 1_000 },
  changes: Array.from({ length: 12 }, (_, i) => ({
    kind: 'cluster',
    name: `a-secret-name-${i}`,
    put: { name: `a-secret-name-${i}`, hash: 'h', version: '', value: Buffer.from(`${generation} ${'x'.repeat(700)}`) },
    references: {},
  })),
})
export const KEY = createSealer(Buffer.alloc(32, 1), 'key')

if (process.argv[1] === import.meta.filename) {
  const [folder, isSealed] = process.argv.slice(2) as [string, string]
  const note = (text: string): void => fs.appendFileSync(path.join(folder, 'notes'), `${text}\n`)
  const { store, stored } = await openSnapshotStore({
    openStorage: openStorageWith({ bundle: undefined }),
    path: path.join(folder, 'snapshot.db'),
    node: 'n',
    sealer: isSealed === 'sealed' ? KEY : undefined,
    log: silentLog,
    metrics: new Metrics(),
  })
  let generation = stored?.generation ?? 0
  note(`opened ${generation}`)
  for (let i = 0; i < 2; i++) {
    await store.save(savedAs(++generation))
    note(`saved ${generation}`)
    await store.copy(0)
  }
  await store[Symbol.asyncDispose]()
}
