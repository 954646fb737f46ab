/**
 * Durable storage as the rest of the agent sees it: one SQLite file behind a worker thread.
 * Reads and writes are asynchronous; writes that arrive while a commit runs form the next transaction (group commit).
 */

import type { Damaged, DamagedLimits } from '../os/files/damaged-files.ts'
export type SqlValue = string | number | bigint | null | Uint8Array
export type Row = Readonly<Record<string, SqlValue>>
/** For `?` in their order, or for `@name`; statements that share an object of these are handed over with one. */
export type Params = readonly SqlValue[] | Readonly<Record<string, SqlValue>>
export type Statement = { readonly sql: string; readonly params?: Params }

export const listValues = (params: Params): readonly SqlValue[] =>
  Array.isArray(params) ? (params as readonly SqlValue[]) : Object.values(params)

/**
 * `strict`: a commit resolves after fsync (synchronous=FULL). `balanced`: survives a killed process, a power cut may
 * take the last commits (synchronous=NORMAL). `eco`: as balanced, and commits wait up to a second for company (flash
 * wear).
 */
export type DurabilityProfile = 'strict' | 'balanced' | 'eco'

export interface Storage extends AsyncDisposable {
  /**
   * Runs the statements in order, all or none, in one transaction (possibly with others' statements). Their bytes are
   * copied before it returns. Resolves once the transaction is as durable as the profile says. Rejects with
   * MESH_STORAGE_FULL (ENOSPC, SQLITE_FULL), MESH_STORAGE_DAMAGED (pages of the file), MESH_STORAGE_FAILED otherwise;
   * then nothing of it was applied.
   */
  commit(statements: readonly Statement[]): Promise<void>
  /**
   * As `commit`, of more than fits into one turn of the event loop: pieces are asked for and copied one by one, and
   * others have turns between them. One at a time. Throws what the pieces throw; then nothing was applied.
   */
  commitInPieces(pieces: Iterable<readonly Statement[]>): Promise<void>
  query(statement: Statement): Promise<readonly Row[]>
  /**
   * Makes `to` a whole copy of the file, once its pages were found in order; until then `to` is what it was. What is
   * asked of this file meanwhile waits; other files do not. Rejects as `commit` does. @returns bytes written
   */
  copyTo(to: string): Promise<number>
  readonly stats: StorageStats
}

export type StorageStats = {
  commits: number
  statements: number
  fsyncs: number
  /** To the device, in whole pages (written-bytes.ts); undefined: the system does not say. */
  writtenBytes: number | undefined
  /** Statements waiting for the running commit to end. */ waiting: number
}

/** What a file starts from: itself, the copy that `copyTo` made of it, or nothing. */
export type Source = 'file' | 'previous' | 'nothing'

export type StorageOptions = {
  readonly path: string
  readonly profile: DurabilityProfile
  /** Run one after the other in a transaction of their own when the file's user_version is below their index + 1. */
  readonly migrations: readonly string[]
  /** Where `copyTo` puts its copies: taken when the file is damaged or missing. */
  readonly previous?: string
  /**
   * `previous`, `nothing`: whoever read the file found that it is damaged, so it is set aside without another look.
   * Left out: `file`.
   */
  readonly startFrom?: Source
  /** Of pages in memory. Left out: 2 MiB. */ readonly cacheBytes?: number
  /**
   * `as read`: the user checks what it reads, so opening costs nothing. Left out: all pages, up to some size of the
   * file.
   */
  readonly check?: 'whole' | 'as read'
  /** Tells by a mark beside the file when it, or its log, is lost: SQLite would take it for new. Left out: no. */
  readonly tellsLoss?: boolean
  /** Left out: of a file that has a copy three, of others all. */ readonly damagedLimits?: DamagedLimits
}

/** `broken log`: commits lie behind a broken frame. `unsynced`: they were not synced. `log end`: its last frame is broken. */
export type Loss = 'file' | 'log' | 'broken log' | 'log end' | 'unsynced'

export type Opened = {
  readonly storage: Storage
  /** `nothing`: the file is new, or empty for want of another. */
  readonly source: Source
  /** New name of a damaged file: `<path>.damaged-<stamp>`. */
  readonly setAside: string | undefined
  /** With tellsLoss: what is not there any more. */ readonly lost?: Loss | undefined
  /** What is kept of damaged files, where they have limits. */ readonly damaged: Damaged
  /** Of the copy; one that is damaged stays where it is until the next replaces it. */
  readonly previous: 'none' | 'there' | 'damaged'
}

/**
 * Rejects with MESH_STORAGE_NEWER when the file was written by a newer version, MESH_STATE_IN_USE when another process
 * has it open, MESH_STATE_UNUSABLE when it may not be opened or written, MESH_STORAGE_FULL, MESH_STORAGE_FAILED
 * otherwise.
 */
export type OpenStorage = (options: StorageOptions) => Promise<Opened>
