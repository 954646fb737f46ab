/** A fetched set of keys on disk, with the time that it was fetched at. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import type { Disk } from '../../core/os/disk.ts'

/** `fetchedMs`: by the wall clock; undefined: before that was noted. */
export type StoredKeys = { readonly text: string; readonly fetchedMs: number | undefined }
/** They throw what the system says. */
export type KeyStore = { read(): StoredKeys | undefined; write(keys: StoredKeys): void; remove(): void }

/** @param source whatever tells it from others; public keys are no secret, but nobody else may change them */
export function createKeyStore(disk: Disk, folder: string, source: string): KeyStore {
  const file = path.join(folder, `jwks-${createHash('sha256').update(source).digest('hex').slice(0, 16)}.json`)
  return {
    read() {
      const text = disk.read(file)?.toString('utf8')
      return text === undefined ? undefined : (readNoted(text) ?? { text, fetchedMs: undefined })
    },
    write: ({ text, fetchedMs }) => disk.replace(file, JSON.stringify({ fetchedMs, document: text }), 0o600),
    remove: () => disk.remove(file),
  }
}

/** Undefined: earlier versions kept the document as it came. */
function readNoted(text: string): StoredKeys | undefined {
  const { document, fetchedMs } = JSON.parse(text) as { readonly document?: unknown; readonly fetchedMs?: unknown }
  if (typeof document !== 'string') return undefined
  return { text: document, fetchedMs: typeof fetchedMs === 'number' ? fetchedMs : undefined }
}
