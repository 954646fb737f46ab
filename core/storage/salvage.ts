/**
 * Rows of a damaged SQLite file, page by page, without its trees: a page that does not read costs the rows on it, and no
 * others, also where it is the root of a table or the first page of the file (https://sqlite.org/fileformat2.html).
 * The log beside it is read, too. What a row means, and whether it is whole, is its reader's business.
 */
import fs from 'node:fs'
import type { Clock } from '../os/clock.ts'
import { TimeSlice } from '../os/time-slice.ts'
import { FRAME_HEADER_BYTES, WAL_HEADER_BYTES } from './sqlite-loss.ts'
import type { SqlValue } from './storage.ts'

/** `rowid` undefined: of a table WITHOUT ROWID, or of an index. */
export type SalvagedRow = { readonly rowid: bigint | undefined; readonly values: readonly SqlValue[] }
export type Salvaged = {
  readonly pages: number
  /** That hold nothing that could be understood. */ readonly damagedPages: number
}

const PAGE_BYTES = 4096
const HEADER_BYTES = 100
const TABLE_LEAF = 0x0d
const INDEX_LEAF = 0x0a
const INDEX_INTERIOR = 0x02
const KNOWN_TYPES: ReadonlySet<number> = new Set([TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR, 0x05])

/** @returns how much of the file was looked at, once all rows have been given */
export async function* salvageRows(path: string, clock: Clock): AsyncGenerator<SalvagedRow, Salvaged> {
  using file = new PageFile(path)
  const slice = new TimeSlice(clock)
  const free = freePages(file)
  let damagedPages = 0
  for (let number = 1; number <= file.pages; number++) {
    if (slice.due) await slice.yield()
    if (free.has(number)) continue
    const page = file.page(number)
    const header = number === 1 ? HEADER_BYTES : 0
    const type = page?.[header]
    if (page === undefined || page.every((byte) => byte === 0)) damagedPages++
    if (page === undefined || type === undefined || !KNOWN_TYPES.has(type) || type === 0x05) continue
    yield* rowsOf(file, page, header, type)
  }
  return { pages: file.pages, damagedPages }
}

function* rowsOf(file: PageFile, page: Buffer, header: number, type: number): Generator<SalvagedRow> {
  const count = page.readUInt16BE(header + 3)
  const pointers = header + (type === INDEX_INTERIOR ? 12 : 8)
  for (let i = 0; i < count && pointers + 2 * i + 2 <= page.length; i++) {
    try {
      const row = cell(file, page, page.readUInt16BE(pointers + 2 * i), type)
      if (row) yield row
    } catch (thrown) {
      // Lengths that lead out of the page or of the file: of this row nothing is left.
      if (!(thrown instanceof RangeError)) throw thrown
    }
  }
}

function cell(file: PageFile, page: Buffer, from: number, type: number): SalvagedRow | undefined {
  let at = type === INDEX_INTERIOR ? from + 4 : from
  const [bytes, afterBytes] = varInt(page, at)
  at = afterBytes
  let rowid: bigint | undefined
  if (type === TABLE_LEAF) [rowid, at] = bigVarInt(page, at)
  if (bytes > file.pages * PAGE_BYTES) throw new RangeError('the row is longer than the file')
  const most = type === TABLE_LEAF ? PAGE_BYTES - 35 : Math.floor(((PAGE_BYTES - 12) * 64) / 255) - 23
  if (bytes <= most) return { rowid, values: record(slice(page, at, bytes)) }
  const least = Math.floor(((PAGE_BYTES - 12) * 32) / 255) - 23
  const some = least + ((bytes - least) % (PAGE_BYTES - 4))
  const local = some <= most ? some : least
  const payload = withOverflow(file, slice(page, at, local), bytes, page.readUInt32BE(at + local))
  return { rowid, values: record(payload) }
}

/** Zeros stand for what is behind a page of the chain that is not there. */
function withOverflow(file: PageFile, local: Buffer, bytes: number, first: number): Buffer {
  const pieces = [local]
  let left = bytes - local.length
  for (let next = first; left > 0;) {
    const page = file.page(next) ?? Buffer.alloc(PAGE_BYTES)
    const piece = page.subarray(4, 4 + Math.min(left, PAGE_BYTES - 4))
    pieces.push(Buffer.from(piece))
    left -= piece.length
    next = page.readUInt32BE(0)
  }
  return Buffer.concat(pieces)
}

/** §2.1 of the format: a header of serial types, then the values. */
function record(payload: Buffer): SqlValue[] {
  const [headerBytes, start] = varInt(payload, 0)
  const values: SqlValue[] = []
  let body = headerBytes
  for (let at = start; at < headerBytes;) {
    const [type, next] = varInt(payload, at)
    at = next
    const [value, after] = valueOf(payload, body, type)
    values.push(value)
    body = after
  }
  if (body !== payload.length) throw new RangeError('the row is not as long as its values')
  return values
}

const INT_BYTES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0] as const
function valueOf(buf: Buffer, at: number, type: number): [value: SqlValue, after: number] {
  if (type >= 12) {
    const bytes = (type - (type % 2 === 0 ? 12 : 13)) / 2
    const data = slice(buf, at, bytes)
    return [type % 2 === 0 ? data : data.toString('utf8'), at + bytes]
  }
  if (type === 8 || type === 9) return [type - 8, at]
  if (type > 9) throw new RangeError('there is no such type')
  const bytes = INT_BYTES[type]!
  if (bytes === 0) return [null, at]
  if (type === 7) return [buf.readDoubleBE(at), at + bytes]
  return [bytes === 8 ? Number(buf.readBigInt64BE(at)) : buf.readIntBE(at, bytes), at + bytes]
}

function varInt(buf: Buffer, from: number): [value: number, after: number] {
  const [value, after] = bigVarInt(buf, from)
  return [Number(value), after]
}
/** SQLite's own, up to nine bytes, the highest group first. */
function bigVarInt(buf: Buffer, from: number): [value: bigint, after: number] {
  let value = 0n
  for (let i = 0; i < 9; i++) {
    const byte = buf.readUInt8(from + i)
    if (i === 8) return [BigInt.asIntN(64, (value << 8n) | BigInt(byte)), from + 9]
    value = (value << 7n) | BigInt(byte & 0x7f)
    if (byte < 0x80) return [value, from + i + 1]
  }
  throw new RangeError('unreachable')
}

function slice(buf: Buffer, at: number, bytes: number): Buffer {
  if (bytes < 0 || at + bytes > buf.length) throw new RangeError('it leads out of the page')
  return buf.subarray(at, at + bytes)
}

/** Pages that hold what was deleted. As far as their list reads. */
function freePages(file: PageFile): ReadonlySet<number> {
  const free = new Set<number>()
  const first = file.page(1)
  if (!first?.subarray(0, 15).equals(Buffer.from('SQLite format 3'))) return free
  for (let next = first.readUInt32BE(32); next > 0 && !free.has(next);) {
    free.add(next)
    const trunk = file.page(next)
    if (!trunk) break
    const count = Math.min(trunk.readUInt32BE(4), PAGE_BYTES / 4 - 2)
    for (let i = 0; i < count; i++) free.add(trunk.readUInt32BE(8 + 4 * i))
    next = trunk.readUInt32BE(0)
  }
  return free
}

/** The newest of each page: the log's last that is committed, whose frames have the salt of its header, or the file's. */
class PageFile implements Disposable {
  readonly #file: number | undefined
  readonly #log: number | undefined
  readonly #inLog = new Map<number, number>()
  readonly pages: number

  constructor(path: string) {
    this.#file = openIfThere(path)
    this.#log = openIfThere(`${path}-wal`)
    if (this.#log !== undefined) this.#readLog(this.#log)
    let pages = this.#file === undefined ? 0 : Math.ceil(fs.fstatSync(this.#file).size / PAGE_BYTES)
    // Each frame can make the file longer by a page; a number beyond that is damage.
    const most = pages + this.#inLog.size
    for (const number of this.#inLog.keys()) if (number <= most) pages = Math.max(pages, number)
    this.pages = pages
  }
  /** Undefined where there is none. A last one that is cut ends in zeros. */
  page(number: number): Buffer | undefined {
    if (number < 1 || number > this.pages) return undefined
    const page = Buffer.alloc(PAGE_BYTES)
    const at = this.#inLog.get(number)
    const fd = at === undefined ? this.#file : this.#log
    if (fd === undefined) return undefined
    try {
      return fs.readSync(fd, page, 0, PAGE_BYTES, at ?? (number - 1) * PAGE_BYTES) > 0 ? page : undefined
    } catch {
      return undefined // a disk that does not give it back
    }
  }
  [Symbol.dispose](): void {
    for (const fd of [this.#file, this.#log]) if (fd !== undefined) fs.closeSync(fd)
  }

  #readLog(fd: number): void {
    const { size } = fs.fstatSync(fd)
    const header = Buffer.alloc(WAL_HEADER_BYTES)
    const frame = Buffer.alloc(FRAME_HEADER_BYTES)
    const saltAt = (at: number): string => {
      frame.fill(0)
      fs.readSync(fd, frame, 0, FRAME_HEADER_BYTES, at)
      return frame.toString('hex', 8, 16)
    }
    if (fs.readSync(fd, header, 0, WAL_HEADER_BYTES, 0) < WAL_HEADER_BYTES) return
    const frameBytes = FRAME_HEADER_BYTES + PAGE_BYTES
    // The header's, unless that is what was damaged: then the first two frames agree on another.
    const [first, second] = [saltAt(WAL_HEADER_BYTES), saltAt(WAL_HEADER_BYTES + frameBytes)]
    const salt = first === second ? first : header.toString('hex', 16, 24)
    // Of a transaction without its end there may be the half of what was moved from one page to another.
    const begun = new Map<number, number>()
    for (let at = WAL_HEADER_BYTES; at + FRAME_HEADER_BYTES < size; at += frameBytes) {
      if (saltAt(at) !== salt) continue
      begun.set(frame.readUInt32BE(0), at + FRAME_HEADER_BYTES)
      if (frame.readUInt32BE(4) === 0) continue
      for (const [page, place] of begun) this.#inLog.set(page, place)
      begun.clear()
    }
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return fs.openSync(path, 'r')
  } catch {
    return undefined
  }
}
