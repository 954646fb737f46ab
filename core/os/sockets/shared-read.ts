/**
 * Sockets that read into one buffer, which all of them share. Node takes 64 KiB from malloc for each read, and gives
 * back what was not filled: of a message that comes alone that is a third of what it costs in Node. What has come is
 * copied, small chunks into blocks that they share, and goes the way of all streams.
 *
 * Node has this for sockets that a program makes itself (`onread` of net.Socket), and not for those that a server
 * accepts. So these get what that option would have set, under names of Node's own; where Node has them no more, nothing
 * changes (docs/performance.md).
 */
import net from 'node:net'
import { Duplex } from 'node:stream'

/** As many as Node would take. */
const READ_BYTES = 64 * 1024
/** Of chunks that came one after the other: whoever keeps one keeps no more than what has come. */
const BLOCK_BYTES = 8 * 1024
/** Larger ones have memory of their own. */
const MAX_PART_BYTES = BLOCK_BYTES / 8

type Names = { readonly buffer: symbol; readonly callback: symbol }
type Handle = { useUserBuffer(buffer: Uint8Array): void }
type Fields = Record<symbol, unknown> & { readonly _handle?: Handle | null }

const names = findNames()
let shared: Buffer | undefined
let block = Buffer.alloc(0)
let blockAt = 0

/** From the next read on. Does nothing to streams that are no sockets, such as those of TLS. */
export function readIntoSharedBuffer(stream: Duplex): void {
  if (!names || Object.getPrototypeOf(stream) !== net.Socket.prototype) return
  const socket = stream as unknown as Fields
  if (typeof socket._handle?.useUserBuffer !== 'function' || socket[names.buffer]) return
  shared ??= Buffer.allocUnsafeSlow(READ_BYTES)
  socket._handle.useUserBuffer(shared)
  socket[names.buffer] = shared
  socket[names.callback] = pushCopy
  // Of a socket with such a buffer Node stops reading at once, and would not notice that its peer breaks off.
  stream.pause = pause
}

/** Called by Node after each read. @returns whether to go on reading */
function pushCopy(this: Duplex, bytes: number, from: Buffer): boolean {
  const chunk = takeMemory(bytes)
  from.copy(chunk, 0, 0, bytes)
  return this.push(chunk)
}
function takeMemory(bytes: number): Buffer {
  if (bytes > MAX_PART_BYTES) return Buffer.allocUnsafeSlow(bytes)
  if (blockAt + bytes > block.length) {
    block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    blockAt = 0
  }
  const from = blockAt
  blockAt += bytes
  return block.subarray(from, blockAt)
}
function pause<T extends Duplex>(this: T): T {
  return Duplex.prototype.pause.call(this) as T
}

/** Those of Node 24 and 26, if they are there. */
function findNames(): Names | undefined {
  const all = Object.getOwnPropertySymbols(new net.Socket())
  const find = (name: string): symbol | undefined => all.find(({ description }) => description === name)
  const buffer = find('kBuffer')
  const callback = find('kBufferCb')
  return buffer && callback ? { buffer, callback } : undefined
}
