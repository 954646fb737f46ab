/** What the agent's thread and the storage thread say to each other. Plain data: it is copied between them. */
import type { ErrorCode } from './errors.ts'
import type { OpenFile } from './sqlite-file.ts'
import type { Row, Statement } from './storage.ts'

export type ThreadStart = { readonly addon: string | undefined }
export type Job = { readonly commit: readonly Statement[] } | { readonly query: Statement }
export type ToThread =
  | { readonly kind: 'open'; readonly file: number; readonly how: Omit<OpenFile, 'addon'> }
  /** All commits become one transaction; queries come after it. */
  | { readonly kind: 'batch'; readonly file: number; readonly jobs: readonly Job[] }
  | { readonly kind: 'close'; readonly file: number }

export type Failure = { readonly code: ErrorCode; readonly message: string }
export type Answer = 'done' | { readonly rows: readonly Row[] } | { readonly failed: Failure }
export type FromThread =
  | { readonly kind: 'opened'; readonly file: number; readonly setAside: string | undefined }
  | { readonly kind: 'refused'; readonly file: number; readonly failed: Failure }
  /** One answer per job, in their order. */
  | { readonly kind: 'answers'; readonly file: number; readonly answers: readonly Answer[]; readonly transactions: number }
  | { readonly kind: 'closed'; readonly file: number }
