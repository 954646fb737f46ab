/** What the agent's thread and the storage thread say to each other. Plain data: it is copied between them. */
import type { ErrorCode } from '../errors.ts'
import type { Addon } from './sqlite-addon.ts'
import type { OpenFile } from './sqlite-file.ts'
import type { Opened, Params, Row, Statement } from './storage.ts'

export type OpenHow = Omit<OpenFile, 'addon'>
/**
 * Statements name their text by its index: a text of its own for each would be a megabyte for a thousand changes.
 * `piece`: all bytes that stand in them; it changes hands.
 */
export type Commit = {
  readonly texts: readonly string[]
  readonly commit: readonly Portable[]
  readonly piece?: ArrayBuffer
}
export type Portable = { readonly text: number; readonly params: Params | undefined }
/** All pieces of that number, which came before. */
export type CommitOfPieces = { readonly pieces: number; readonly count: number }
export type Job = Commit | CommitOfPieces | { readonly query: Statement }
export type ToThread =
  /**
   * The first message to a thread of the bundle: it loads SQLite while nobody waits. Answered by `addon`, or by what
   * `open` says of it.
   */
  | { readonly kind: 'prepare'; readonly addon: Addon }
  /**
   * What malloc has free in the whole process; with `rest`, for a process that has nothing to do, the garbage of the
   * thread and pages of files, too. Without an answer.
   */
  | { readonly kind: 'trim'; readonly rest: boolean }
  | { readonly kind: 'open'; readonly file: number; readonly how: OpenHow }
  /** Kept for a job of the same number; a new number drops what an older one left. Without an answer. */
  | { readonly kind: 'piece'; readonly file: number; readonly of: number; readonly commit: Commit }
  /** All commits become one transaction; queries come after it. */
  | { readonly kind: 'batch'; readonly file: number; readonly jobs: readonly Job[] }
  /** Messages of the same file wait until it is done. */
  | { readonly kind: 'copy'; readonly file: number; readonly to: string }
  | { readonly kind: 'close'; readonly file: number }

export type Failure = { readonly code: ErrorCode; readonly message: string }
export type Answer = 'done' | { readonly rows: readonly Row[] } | { readonly failed: Failure }
export type FromThread =
  | ({ readonly kind: 'opened'; readonly file: number } & Omit<Opened, 'storage'>)
  /** Open descriptor of the addon that was loaded, for the next thread: by then the bundle may be another. */
  | { readonly kind: 'addon'; readonly fd: number }
  | { readonly kind: 'refused'; readonly file: number; readonly failed: Failure }
  /** One answer per job, in their order. */
  | {
      readonly kind: 'answers'
      readonly file: number
      readonly answers: readonly Answer[]
      readonly transactions: number
      /** To the device, as far as the system says. */
      readonly writtenBytes: number | undefined
    }
  | { readonly kind: 'copied'; readonly file: number; readonly result: number | Failure }
  | { readonly kind: 'closed'; readonly file: number }
