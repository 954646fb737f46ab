import fs from 'node:fs'
import { MeshError, type ErrorCode } from '../../agent/core/errors.ts'
import { systemDisk } from '../../agent/core/disk.ts'
import { openStorageWith } from '../../agent/core/storage-worker.ts'
import type { OpenStorage, Statement, Storage } from '../../agent/core/storage.ts'

/** `before`: nothing of it was done. `after`: it was done, but whoever asked is told that it failed, as when the thread dies at the wrong moment. */
export type Fault = { readonly when: 'before' | 'after'; readonly code: ErrorCode }

/** The real storage, with commits that can be held or made to fail, and a look at what a crash would leave. */
export class FaultyStorage {
  readonly path: string
  readonly commits: (readonly Statement[])[] = []
  /** For the next commits, one each. */
  faults: Fault[] = []
  #held: PromiseWithResolvers<void> | undefined
  constructor(path: string) { this.path = path }

  readonly open: OpenStorage = async (options) => {
    const opened = await openStorageWith({ stateFolder: '/nonexistent', bundle: undefined, disk: systemDisk })(options)
    return { ...opened, storage: this.#wrap(opened.storage) }
  }
  hold(): void { this.#held ??= Promise.withResolvers() }
  resume(): void { this.#held?.resolve(); this.#held = undefined }

  /** Copies the files as they are now, without closing anything. What is only in the page cache is there too: a kill, not a power cut. */
  crashImage(to: string): void {
    for (const suffix of ['', '-wal']) {
      fs.rmSync(to + suffix, { force: true })
      if (fs.existsSync(this.path + suffix)) fs.copyFileSync(this.path + suffix, to + suffix)
    }
  }

  #wrap(storage: Storage): Storage {
    return {
      get stats() { return storage.stats },
      query: (statement) => storage.query(statement),
      commit: async (statements) => {
        this.commits.push(statements)
        await this.#held?.promise
        const fault = this.faults.shift()
        if (fault?.when !== 'before') await storage.commit(statements)
        if (fault) throw new MeshError(fault.code, 'the test lets the commit fail')
      },
      [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
    }
  }
}
