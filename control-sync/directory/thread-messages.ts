/** What passes between a folder's reader and its thread. */
import type { FileKind, FileProblem } from './parse.ts'

export const FOLDER_THREAD = 'folder'
/** Which part of the program the thread runs, and of which program: the bundle may have been replaced since. */
export type FolderThreadData = { readonly part: typeof FOLDER_THREAD; readonly build: string }

export type FileRequest = { readonly folder: string; readonly file: string; readonly hash: string | undefined }
/** `next`: the piece that came has been taken. A message port hands over at once whatever waits in it. */
export type ToFolderThread = ({ readonly kind: 'read' } & FileRequest) | { readonly kind: 'next' }

/** `to`: where in `bytes` the resource ends; it begins where the one before ends. */
export type PackedResource = readonly [kind: FileKind, name: string, line: number, to: number]
export type FromFolderThread =
  | { readonly kind: 'ready'; readonly build: string }
  | { readonly kind: 'piece'; readonly resources: readonly PackedResource[]; readonly bytes: Uint8Array<ArrayBuffer> }
  /** Answer to the last request. */
  | {
      readonly kind: 'done'
      readonly stamp: string
      readonly hash: string
      readonly outcome: 'content' | 'same' | 'torn'
      readonly problems: readonly FileProblem[]
      readonly blocked: readonly FileProblem[]
    }

export function isFolderThread(data: unknown): data is FolderThreadData {
  return typeof data === 'object' && data !== null && 'part' in data && data.part === FOLDER_THREAD
}
