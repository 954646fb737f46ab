/**
 * Revisions of the configuration: which files they have, and what is in these, each content once. A revision is there
 * once it is there whole.
 */
import { createHash } from 'node:crypto'
import { MeshError } from '../../../core/errors.ts'
import { joinContent, packPiece, splitBytes, splitContent, unpackPiece } from '../../source/packed-file.ts'
import type { FolderRevision, RevisionFile } from '../../source/folder.ts'
import type { Sql } from '../sql.ts'

export type RevisionRow = {
  readonly id: string
  readonly takenMs: number
  readonly files: number
  readonly resources: number
  /** Of the files. */
  readonly bytes: number
}
/** `source`: SHA-256 of the file, hexadecimal; `content`: of what was read of it. */
export type ManifestFile = {
  readonly path: string
  readonly source: string
  readonly content: string
  readonly resources: number
}
export type NewRevision = {
  readonly revision: FolderRevision
  readonly nowMs: number
  /** The file as it stands now. */
  readonly readSource: (file: RevisionFile) => Promise<Uint8Array>
}

/** So many are kept; those that somebody has or is to have besides. */
export const KEPT_REVISIONS = 50
const MAX_REVISION_BYTES = 512 * 1024 * 1024
/** Pieces that are written together. */
const BATCH = 100
const BATCH_CHARS = 2 * 1024 * 1024
const COLUMNS = `id, taken_ms AS "takenMs", files, resources, bytes`

type Blob = { readonly hash: string; readonly part: number; readonly content: string }

/** @param text the id, or how it begins. Throws MESH_CONFIG_INVALID when it is not clear which is meant. */
export function selectRevision<R extends Pick<RevisionRow, 'id'>>(rows: readonly R[], text: string): R {
  const found = rows.filter(({ id }) => id === text || (text.length >= 4 && id.startsWith(text)))
  if (found.length === 1) return found[0]!
  throw new MeshError(
    'MESH_CONFIG_INVALID',
    `${JSON.stringify(text.slice(0, 64))} ${found.length === 0 ? 'is no revision' : 'may be several revisions'}; meshlet-hub revision list shows them`,
  )
}

export class Revisions {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** Newest first. */
  list(): Promise<readonly RevisionRow[]> {
    return this.#sql.all<RevisionRow>(`SELECT ${COLUMNS} FROM revisions ORDER BY taken_ms DESC, id`)
  }
  async get(id: string): Promise<RevisionRow | undefined> {
    return (await this.#sql.all<RevisionRow>(`SELECT ${COLUMNS} FROM revisions WHERE id = ?`, id))[0]
  }
  /** @param text the id, or how it begins. Rejects with MESH_CONFIG_INVALID when it is not clear which is meant. */
  async find(text: string): Promise<RevisionRow> {
    return selectRevision(await this.list(), text)
  }

  /** @returns whether it was not there before. Rejects with MESH_CONFIG_INVALID for one that is too large. */
  async add({ revision, nowMs, readSource }: NewRevision): Promise<boolean> {
    if (await this.get(revision.id)) return false
    const manifest: ManifestFile[] = []
    const batch: Blob[] = []
    let [bytes, resources] = [0, 0]
    for (const file of revision.files) {
      const source = await readSource(file)
      bytes += source.length
      if (bytes > MAX_REVISION_BYTES)
        throw new MeshError('MESH_CONFIG_INVALID', `the resource files have more than ${MAX_REVISION_BYTES} bytes`)
      const pieces = [...splitContent(file.content)]
      const content = hashPieces(pieces)
      resources += file.content.resources.length
      batch.push(...(await this.#pack(`s:${file.hash}`, splitBytes(source))))
      batch.push(...(await this.#pack(`c:${content}`, pieces)))
      await this.#write(batch, BATCH)
      manifest.push({
        path: file.path,
        source: file.hash,
        content,
        resources: file.content.resources.length,
      })
    }
    batch.push(...(await this.#pack(`m:${revision.id}`, splitBytes(Buffer.from(JSON.stringify(manifest))))))
    await this.#write(batch, 1)
    const added = await this.#sql.run(
      'INSERT INTO revisions (id, taken_ms, files, resources, bytes) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING',
      revision.id,
      nowMs,
      revision.files.length,
      resources,
      bytes,
    )
    return added > 0
  }

  /** Rejects with MESH_CONFIG_INVALID when there is none of that id. */
  async manifest(id: string): Promise<readonly ManifestFile[]> {
    if (!(await this.get(id)))
      throw new MeshError('MESH_CONFIG_INVALID', `there is no revision ${id}; meshlet-hub revision list shows them`)
    return JSON.parse(Buffer.concat(await this.#read(`m:${id}`)).toString('utf8')) as ManifestFile[]
  }
  /** The file as it was taken. @param hash `source` of the manifest */
  async source(hash: string): Promise<Buffer> {
    return Buffer.concat(await this.#read(`s:${hash}`))
  }
  /** What can be served of it. Rejects with MESH_CONFIG_INVALID, MESH_STORAGE_FAILED. */
  async load(id: string): Promise<FolderRevision> {
    const files: RevisionFile[] = []
    for (const { path, source, content, resources } of await this.manifest(id)) {
      const pieces = resources === 0 ? [] : await this.#read(`c:${content}`)
      files.push({ path, hash: source, content: joinContent(path, pieces) })
    }
    return { id, files }
  }

  /** All but the newest and those of `used` go. @returns how many went */
  async prune(used: ReadonlySet<string>): Promise<number> {
    const all = await this.list()
    const gone = all.slice(KEPT_REVISIONS).filter(({ id }) => !used.has(id))
    if (gone.length === 0) return 0
    const unused = new Set<string>()
    for (const { id } of gone) for (const hash of await this.#hashesOf(id)) unused.add(hash)
    for (const { id } of all)
      if (!gone.some((one) => one.id === id)) for (const hash of await this.#hashesOf(id)) unused.delete(hash)
    for (const { id } of gone) await this.#sql.run('DELETE FROM revisions WHERE id = ?', id)
    for (const hash of unused) await this.#sql.run('DELETE FROM revision_blobs WHERE hash = ?', hash)
    return gone.length
  }

  async #hashesOf(id: string): Promise<readonly string[]> {
    const files = await this.manifest(id)
    return [`m:${id}`, ...files.flatMap(({ source, content }) => [`s:${source}`, `c:${content}`])]
  }

  async #pack(hash: string, pieces: Iterable<Uint8Array>): Promise<Blob[]> {
    if ((await this.#sql.all('SELECT part FROM revision_blobs WHERE hash = ? LIMIT 1', hash)).length > 0) return []
    const blobs: Blob[] = []
    for (const piece of pieces) blobs.push({ hash, part: blobs.length, content: await packPiece(piece) })
    return blobs
  }

  /** Empties the batch when there is enough in it: a blob is written whole or not at all. */
  async #write(batch: Blob[], enough: number): Promise<void> {
    const chars = batch.reduce((sum, { content }) => sum + content.length, 0)
    if (batch.length < enough && chars < BATCH_CHARS) return
    await this.#sql.transaction(async (tx) => {
      for (const { hash, part, content } of batch)
        await tx.run(
          'INSERT INTO revision_blobs (hash, part, content) VALUES (?, ?, ?) ON CONFLICT (hash, part) DO NOTHING',
          hash,
          part,
          content,
        )
    })
    batch.length = 0
  }

  async #read(hash: string): Promise<readonly Uint8Array[]> {
    const rows = await this.#sql.all<{ content: string }>(
      'SELECT content FROM revision_blobs WHERE hash = ? ORDER BY part',
      hash,
    )
    if (rows.length === 0) throw new MeshError('MESH_STORAGE_FAILED', `a part of a revision is missing: ${hash}`)
    const pieces: Uint8Array[] = []
    for (const { content } of rows) pieces.push(await unpackPiece(content))
    return pieces
  }
}

function hashPieces(pieces: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}
