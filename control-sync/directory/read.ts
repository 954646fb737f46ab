/** One file of a folder, read and parsed in one go: by the folder thread, and here what is small. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { makeStamp } from './list.ts'
import type { Known } from './text/locate.ts'
import { parseFile, blockWholeFile, type FileContent } from './parse.ts'

export const MAX_FILE_BYTES = 64 * 1024 * 1024
const MAX_PEM_BYTES = 1024 * 1024

export type ReadOne = {
  /** Of what was read. '' for what could not be. */
  readonly stamp: string
  readonly hash: string
  /** `same`: the bytes are those of `hash`. `torn`: somebody writes it at this moment. */
  readonly content: FileContent | 'same' | 'torn'
}

/** Files that are no resources of Envoy. @returns undefined: it is none of these. Never throws. */
export type ReadOther = (file: string, text: string) => FileContent | undefined
/** `owns`: by its beginning, of a file that is too large for `read`. */
export type OtherFiles = { readonly owns: (file: string, head: string) => boolean; readonly read: ReadOther }

/**
 * Never throws: a file that cannot be read is a problem of that file.
 * @param hash of what is known of it
 */
export function readOne(
  folder: string,
  file: string,
  hash: string | undefined,
  known: Known,
  readOther: ReadOther = isNone,
): ReadOne {
  const full = path.join(folder, file)
  let whole: Whole | string
  try {
    whole = bytesOf(full)
  } catch (err) {
    return unreadable(file, `cannot be read: ${err instanceof Error ? err.message : String(err)}`)
  }
  if (typeof whole === 'string') return unreadable(file, whole)
  const { bytes, stamp } = whole
  if (!bytes) return { stamp, hash: '', content: 'torn' }
  const found = createHash('sha256').update(bytes).digest('base64')
  if (found === hash) return { stamp, hash, content: 'same' }
  return {
    stamp,
    hash: found,
    content: readOther(file, bytes.toString('utf8')) ?? parseBytes(full, file, bytes, known),
  }
}

function isNone(): undefined {
  return undefined
}

function parseBytes(full: string, file: string, bytes: Buffer, known: Known): FileContent {
  const folder = path.resolve(path.dirname(full))
  return parseFile(file, bytes.toString('utf8'), (name) => smallFile(path.resolve(folder, name)), known, folder)
}

function unreadable(file: string, problem: string): ReadOne {
  return { stamp: '', hash: '', content: blockWholeFile(file, problem) }
}

type Whole = { readonly bytes: Buffer | undefined; readonly stamp: string }

/** @returns why not, in words; no bytes when the file changed while it was read */
function bytesOf(full: string): Whole | string {
  // A FIFO or a device must not keep the thread waiting.
  const fd = fs.openSync(full, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  try {
    const before = fs.fstatSync(fd)
    if (!before.isFile()) return 'is no file'
    if (before.size > MAX_FILE_BYTES) return `is larger than ${MAX_FILE_BYTES} bytes`
    const bytes = Buffer.allocUnsafe(before.size)
    let length = 0
    for (let n = 1; n > 0 && length < bytes.length; length += n)
      n = fs.readSync(fd, bytes, length, bytes.length - length, null)
    const isWhole = length === bytes.length && makeStamp(fs.fstatSync(fd)) === makeStamp(before)
    return { bytes: isWhole ? bytes : undefined, stamp: makeStamp(before) }
  } finally {
    fs.closeSync(fd)
  }
}

/** '' for what cannot be read. */
export function readHead(full: string, maxBytes: number): string {
  try {
    const fd = fs.openSync(full, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    try {
      if (!fs.fstatSync(fd).isFile()) return ''
      const bytes = Buffer.alloc(maxBytes)
      return bytes.toString('utf8', 0, fs.readSync(fd, bytes, 0, maxBytes, 0))
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    return ''
  }
}

function smallFile(file: string): string | undefined {
  try {
    const s = fs.statSync(file)
    return s.isFile() && s.size <= MAX_PEM_BYTES ? fs.readFileSync(file, 'utf8') : undefined
  } catch {
    return undefined
  }
}
