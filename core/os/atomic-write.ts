/** Disk.replace for what is too large to be held or to be waited for: a part at a time, off the thread. */
import fs from 'node:fs'
import path from 'node:path'

type Handle = {
  chmod(mode: number): Promise<void>
  writeFile(bytes: Uint8Array): Promise<void>
  sync(): Promise<void>
  close(): Promise<void>
}
/** The system calls that it makes, so that tests can stop the world between any two. */
export type SlowCalls = {
  open(file: string, flags: string, mode?: number): Promise<Handle>
  rename(from: string, to: string): Promise<void>
  rm(file: string, options: { readonly force: true }): Promise<void>
}

/**
 * Write beside, fsync, rename, fsync the folder: after it resolves, a power cut leaves the new content; before, the
 * old. Rejects with what the system says; nothing is left beside then.
 * @returns bytes
 */
export async function replaceAtomically(
  file: string,
  parts: AsyncIterable<Uint8Array>,
  mode: number,
  calls: SlowCalls = fs.promises,
): Promise<number> {
  const beside = `${file}.new`
  let bytes = 0
  try {
    // As in Disk.replace: nothing that lies there is written to.
    await calls.rm(beside, { force: true })
    const made = await calls.open(beside, 'wx', mode)
    try {
      await made.chmod(mode) // whatever the umask says
      for await (const part of parts) {
        await made.writeFile(part)
        bytes += part.length
      }
      await made.sync()
    } finally {
      await made.close()
    }
    await calls.rename(beside, file)
  } catch (thrown) {
    // On a disk that is full it would be in everybody's way.
    await calls.rm(beside, { force: true }).catch(() => undefined)
    throw thrown
  }
  await syncFolder(path.dirname(file), calls)
  return bytes
}

export async function syncFolder(folder: string, calls: SlowCalls = fs.promises): Promise<void> {
  const opened = await calls.open(folder, 'r')
  try {
    await opened.sync()
  } finally {
    await opened.close()
  }
}
