import fs from 'node:fs'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { openStorageWith } from '../../../core/storage/worker-storage.ts'
import type { OpenStorage, Statement, Storage } from '../../../core/storage/storage.ts'

/**
 * `before`: nothing of it was done. `after`: it was done, but whoever asked is told that it failed, as when the thread
 * dies at the wrong moment.
 */
export type Fault = { readonly when: 'before' | 'after'; readonly code: ErrorCode }

/** The real storage, with commits that can be held or made to fail, and a look at what a crash would leave. */
export class FaultyStorage {
  readonly path: string
  readonly commits: (readonly Statement[])[] = []
  /** For the next commits, one each; undefined: none. */
  faults: (Fault | undefined)[] = []
  readonly copies: string[] = []
  /** For the next copies, one each. */
  copyFaults: ErrorCode[] = []
  #held: PromiseWithResolvers<void> | undefined
  constructor(path: string) {
    this.path = path
  }

  readonly open: OpenStorage = async (options) => {
    const opened = await this.#counted(() => openStorageWith({ bundle: undefined })(options))
    return { ...opened, storage: this.#wrap(opened.storage) }
  }
  /** What was asked for and is not done. */
  busy = 0
  async #counted<T>(work: () => Promise<T>): Promise<T> {
    this.busy++
    try {
      return await work()
    } finally {
      this.busy--
    }
  }
  hold(): void {
    this.#held ??= Promise.withResolvers()
  }
  resume(): void {
    this.#held?.resolve()
    this.#held = undefined
  }

  /**
   * Copies the files as they are now, without closing anything. What is only in the page cache is there too: a kill,
   * not a power cut.
   */
  crashImage(to: string): void {
    for (const suffix of ['', '-wal']) {
      fs.rmSync(to + suffix, { force: true })
      if (fs.existsSync(this.path + suffix)) fs.copyFileSync(this.path + suffix, to + suffix)
    }
  }

  async #commit(statements: readonly Statement[], work: () => Promise<void>): Promise<void> {
    this.commits.push(statements)
    await this.#held?.promise
    const fault = this.faults.shift()
    if (fault?.when !== 'before') await work()
    if (fault) throw new MeshError(fault.code, 'the test lets the commit fail')
  }

  #wrap(storage: Storage): Storage {
    return {
      get stats() {
        return storage.stats
      },
      query: (statement) => this.#counted(() => storage.query(statement)),
      copyTo: (to) =>
        this.#counted(async () => {
          const fault = this.copyFaults.shift()
          if (fault) throw new MeshError(fault, 'the test lets the copy fail')
          this.copies.push(to)
          return await storage.copyTo(to)
        }),
      commit: (statements) => this.#counted(() => this.#commit(statements, () => storage.commit(statements))),
      commitInPieces: (pieces) =>
        this.#counted(() => {
          const all: Statement[] = []
          // Their bytes are good until others have a turn.
          const seen = function* (): Generator<readonly Statement[]> {
            for (const piece of pieces) {
              all.push(...piece)
              yield piece
            }
          }
          return this.#commit(all, () => storage.commitInPieces(seen()))
        }),
      [Symbol.asyncDispose]: () =>
        this.#counted(async () => {
          await storage[Symbol.asyncDispose]()
        }),
    }
  }
}
