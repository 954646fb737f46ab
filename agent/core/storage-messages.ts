/** What the agent's thread and the storage thread say to each other. Plain data: it is copied between them. */
import type { ErrorCode } from './errors.ts'
import type { DurabilityProfile, Row, Statement } from './storage.ts'

export type ThreadStart = { readonly addon: string | undefined }
export type Job = { readonly id: number; readonly statements: readonly Statement[] }
export type ToThread =
  | { readonly kind: 'open'; readonly id: number; readonly file: number; readonly path: string; readonly profile: DurabilityProfile; readonly migrations: readonly string[]; readonly stamp: string }
  | { readonly kind: 'commit'; readonly file: number; readonly jobs: readonly Job[] }
  | { readonly kind: 'query'; readonly id: number; readonly file: number; readonly statement: Statement }
  | { readonly kind: 'close'; readonly id: number; readonly file: number }

export type Failure = { readonly code: ErrorCode; readonly message: string }
export type Answer = { readonly id: number } & ({ readonly error: Failure } | { readonly setAside: string | undefined } | { readonly rows: readonly Row[] } | { readonly done: true })
/** Answers to one message come together. */
export type FromThread = { readonly answers: readonly Answer[] }
