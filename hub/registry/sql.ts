/**
 * What the registry needs of a database: statements with `?`, transactions that nobody else writes beside, and a
 * revision that says whether somebody has written. Nothing above this file knows which database it is, so statements are
 * written as all of them take them.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { MeshError } from '../../core/errors.ts'

export type Value = string | number | null
/** Everything rejects with MESH_STORAGE_FAILED or MESH_STORAGE_FULL. */
export interface Sql {
  all<T>(sql: string, ...params: readonly Value[]): Promise<T[]>
  /** @returns rows that changed */
  run(sql: string, ...params: readonly Value[]): Promise<number>
  /**
   * Nobody else writes meanwhile, of this process or another; what throws is undone. Everything that belongs to it goes
   * through `tx`, which is over when `work` is. A transaction within one is part of it.
   */
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T>
  /** Everybody who looks at `Store.revision` finds another one when this is committed. */
  touch(): Promise<void>
}
export interface Store extends Sql, AsyncDisposable {
  /**
   * Another one once something was written that others have to look at. Throws MESH_STORAGE_FAILED when it cannot be
   * known.
   */
  readonly revision: string
  /** From now on nobody waits long for another process that writes. */
  serving(): void
  /** A copy as it is now, whoever writes, as SQLite's file. @param file must not exist */
  copyTo(file: string, nativeBinding?: object): Promise<void>
}

type Running = { isOver: boolean }

/**
 * Finds a statement that was written to the store itself in the middle of a transaction: it would wait for the
 * transaction that waits for it.
 */
export class TransactionScope {
  readonly #running = new AsyncLocalStorage<Running>()

  async run<T>(work: () => Promise<T>): Promise<T> {
    const own: Running = { isOver: false }
    try {
      return await this.#running.run(own, work)
    } finally {
      own.isOver = true
    }
  }

  /** Throws MESH_INTERNAL. */
  checkOutside(): void {
    if (this.#running.getStore()?.isOver !== false) return
    throw new MeshError('MESH_INTERNAL', 'a statement of a transaction was not given to the transaction')
  }
}
