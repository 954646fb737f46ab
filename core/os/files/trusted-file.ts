/** Files that decide who gets in or whom the node trusts. Whoever may write such a file decides with it. */
import type { Disk, FileStat } from '../disk.ts'
import { toPrintable } from '../../printable.ts'

export type TrustedFile = { readonly bytes: Buffer; readonly stat: FileStat }

/** Bits of the mode: write, for group and others. */
const WRITABLE_BY_OTHERS = 0o022

/**
 * @returns why what stands in the file proves nothing, with the remedy; undefined: only root and meshlet's user may
 *   write it
 */
export function findTamperProblem(
  file: string,
  { mode, isOurs }: Pick<FileStat, 'mode' | 'isOurs'>,
): string | undefined {
  const name = toPrintable(file)
  if ((mode & WRITABLE_BY_OTHERS) !== 0)
    return `others than its owner may write it, so it proves nothing (chmod go-w ${name})`
  if (!isOurs)
    return `it belongs neither to root nor to meshlet's user, so it proves nothing (chown it to one of them: ${name})`
  return undefined
}

/** @throws Error that says why the file cannot be used, as the end of a sentence that names it */
export function readTrustedFile(disk: Pick<Disk, 'read' | 'stat'>, file: string, maxBytes: number): TrustedFile {
  const stat = checkTrustedFile(disk, file)
  if (stat.sizeBytes > maxBytes) throw tooLarge(maxBytes)
  const bytes = disk.read(file)
  if (!bytes) throw new Error('there is no such file')
  // It may have grown.
  if (bytes.length > maxBytes) throw tooLarge(maxBytes)
  return { bytes, stat }
}

/** @throws as readTrustedFile, without a look at the content */
export function checkTrustedFile(disk: Pick<Disk, 'stat'>, file: string): FileStat {
  const stat = disk.stat(file)
  if (!stat) throw new Error('there is no such file')
  const problem = findTamperProblem(file, stat)
  if (problem !== undefined) throw new Error(problem)
  return stat
}

function tooLarge(maxBytes: number): Error {
  return new Error(`it is larger than ${maxBytes} bytes`)
}

/** @throws Error */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error('it is not UTF-8', { cause })
  }
}
