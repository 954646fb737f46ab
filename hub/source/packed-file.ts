/**
 * What a file of a revision holds, as the registry keeps it: pieces of some hundred resources, compressed each for
 * itself, so that neither packing nor reading a large file keeps devices waiting.
 */
import zlib from 'node:zlib'
import { promisify } from 'node:util'
import { MeshError } from '../../core/errors.ts'
import type { FileContent, FileKind, FileResource } from '../../control-sync/directory/parse.ts'

/** name and kind of a resource, the line where it stands, and the length of its value. */
type Row = readonly [kind: FileKind, name: string, line: number, bytes: number]

const PIECE_RESOURCES = 500
const PIECE_BYTES = 1024 * 1024
/** What one piece may become: a piece of one large resource, too. */
const MAX_PIECE_BYTES = 256 * 1024 * 1024
const compress = promisify(zlib.zstdCompress)
const decompress = promisify(zlib.zstdDecompress)

/** Before compression: a count of bytes, rows of JSON, values. */
export function* splitContent({ resources }: FileContent): Iterable<Uint8Array> {
  for (let from = 0; from < resources.length;) {
    const piece: FileResource[] = []
    let bytes = 0
    while (from < resources.length && piece.length < PIECE_RESOURCES && (piece.length === 0 || bytes < PIECE_BYTES)) {
      const next = resources[from++]!
      piece.push(next)
      bytes += next.value.length
    }
    const rows = piece.map(({ kind, name, line, value }): Row => [kind, name, line, value.length])
    const head = Buffer.from(JSON.stringify(rows))
    const size = Buffer.alloc(4)
    size.writeUInt32BE(head.length)
    yield Buffer.concat([size, head, ...piece.map(({ value }) => value)])
  }
}

/** Pieces of a text. */
export function* splitBytes(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

/** Throws MESH_STORAGE_FAILED: it is not what was written. */
export function joinContent(path: string, pieces: Iterable<Uint8Array>): FileContent {
  const resources: FileResource[] = []
  for (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    const head = bytes.readUInt32BE(0)
    let at = 4 + head
    for (const [kind, name, line, length] of JSON.parse(bytes.toString('utf8', 4, at)) as readonly Row[]) {
      if (at + length > bytes.length) throw new MeshError('MESH_STORAGE_FAILED', `${path} of a revision is cut off`)
      resources.push({ kind, name, line, file: path, value: Uint8Array.from(bytes.subarray(at, at + length)) })
      at += length
    }
  }
  return { resources, problems: [], blocked: [] }
}

/** Text that every database takes. */
export const packPiece = async (piece: Uint8Array): Promise<string> => (await compress(piece)).toString('base64')
/** Rejects with MESH_STORAGE_FAILED. */
export async function unpackPiece(text: string): Promise<Uint8Array> {
  try {
    return await decompress(Buffer.from(text, 'base64'), { maxOutputLength: MAX_PIECE_BYTES })
  } catch (cause) {
    throw new MeshError('MESH_STORAGE_FAILED', 'a piece of a revision cannot be read', { cause })
  }
}
