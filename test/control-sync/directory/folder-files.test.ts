/** Whoever reads a folder lets traffic pass, however much is in it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { FileResource } from '../../../control-sync/directory/parse.ts'
import type { ReadOne } from '../../../control-sync/directory/read.ts'
import { FolderReader } from '../../../control-sync/directory/reader.ts'
import { watchFolder } from '../../../control-sync/directory/watch.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

/** Every look at it takes a millisecond, so that work takes time. */
class BusyClock extends SimClock {
  looks = 0
  override monotonicMs(): number {
    return this.looks++
  }
}

/** A file of which every reading is another version. */
class Large extends FolderReader {
  #version = 0
  override async read(_folder: string, file: string): Promise<ReadOne> {
    const version = ++this.#version
    const resources = Array.from({ length: 2_000 }, (_, i): FileResource => ({
      kind: 'cluster',
      name: `c${i}`,
      value: Buffer.from([i % 7 === 0 ? version : 0]),
      file,
      line: i,
    }))
    return { stamp: '', hash: String(version), content: { resources, problems: [] } }
  }
}

test('a file with thousands of resources is taken over in slices', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'large.yaml'), '')
  const clock = new BusyClock()
  const reader = new Large(clock)
  let [longest, last, done] = [0, 0, false]
  const traffic = (): void => {
    longest = Math.max(longest, clock.looks - last)
    last = clock.looks
    if (!done) setImmediate(traffic)
  }
  setImmediate(traffic)
  const sizes: number[] = []
  const watching = await watchFolder({
    folder,
    node: undefined,
    clock,
    reader,
    onChange: (found) => {
      sizes.push(found.resources.get('cluster')!.size)
    },
  })
  t.after(() => {
    watching[Symbol.dispose]()
    reader[Symbol.dispose]()
  })
  fs.utimesSync(path.join(folder, 'large.yaml'), 1, 1)
  await watching.look('first')
  done = true
  assert.deepEqual(sizes, [2_000, 2_000])
  // A slice is 5 ms, a look is 1 ms; where two pieces of work meet a slice may begin anew.
  assert.ok(longest <= 12, `${longest} looks at the clock in one turn`)
})
