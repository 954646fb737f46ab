/**
 * The last good snapshot and the one before, in SQLite: what the agent starts from when no control plane answers. Each row says from which
 * generation to which a version of a resource was in force, so a save writes what changed and nothing else. With a key, resources
 * are sealed (agent/core/sealed.ts); their names are not.
 */
import zlib from 'node:zlib'
import { MeshError } from '../agent/core/errors.ts'
import { isSealed, type Sealer } from '../agent/core/sealed.ts'
import type { OpenStorage, Row, Statement, Storage } from '../agent/core/storage.ts'
import { TYPE_URLS, type RawResource, type ResourceKind, type Snapshot } from '../agent/model/snapshot.ts'
import type { References } from './references.ts'

export type StoredSnapshot = {
  readonly snapshot: Snapshot
  readonly references: ReadonlyMap<RawResource, References>
  readonly generation: number
  /** Wall milliseconds: when a control plane was last heard of, and when each kind last changed. */
  readonly contactAtMs: number | undefined
  readonly changedAtMs: Ages
  /** "kind name" of resources whose stored bytes are damaged: the version before is served, or none where there is no such. */
  readonly damaged: readonly string[]
}
export type Ages = { readonly [K in ResourceKind]?: number }
export type SavedChange =
  | { readonly kind: ResourceKind; readonly name: string; readonly put: RawResource; readonly references: References }
  | { readonly kind: ResourceKind; readonly name: string; readonly put: undefined }
export type Save = { readonly node: string; readonly generation: number; readonly savedAtMs: number; readonly contactAtMs: number | undefined; readonly changedAtMs: Ages; readonly changes: readonly SavedChange[] }

export interface SnapshotStore extends AsyncDisposable {
  /** Undefined when there is none for this node. Rejects with MESH_STATE_LOCKED when it is sealed with another key, and is closed then. @param node the node's id: another node's configuration must never be served */
  load(node: string): Promise<StoredSnapshot | undefined>
  /** Rejects with MESH_STORAGE_FULL or MESH_STORAGE_FAILED; then the stored snapshot is the one before. */
  save(p: Save): Promise<void>
  /** Set when a damaged file was renamed at opening. */
  readonly setAside: string | undefined
}

const MIGRATIONS = [`
CREATE TABLE resource (
  kind TEXT NOT NULL, name TEXT NOT NULL, from_generation INTEGER NOT NULL, to_generation INTEGER,
  hash TEXT NOT NULL, version TEXT NOT NULL, refs TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (kind, name, from_generation)
) WITHOUT ROWID;
CREATE INDEX resource_ended ON resource (to_generation) WHERE to_generation IS NOT NULL;
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`, 'ALTER TABLE resource ADD COLUMN crc INTEGER']

/** Rejects with MESH_STORAGE_NEWER or MESH_STORAGE_FAILED. */
export async function openSnapshotStore(openStorage: OpenStorage, path: string, sealer?: Sealer): Promise<SnapshotStore> {
  const { storage, setAside } = await openStorage({ path, profile: 'strict', migrations: MIGRATIONS })
  const values = new Values(path, sealer)
  // What is replaced is overwritten, so that nothing in plain text stays behind in free pages.
  if (sealer) await storage.query({ sql: 'PRAGMA secure_delete = ON' })
  return {
    setAside,
    async load(node) {
      try { return await load(storage, node, values) } catch (thrown) {
        await storage[Symbol.asyncDispose]()
        throw thrown
      }
    },
    save: (p) => storage.commit(statementsOf(p, values)),
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  }
}

/** Resources as bytes of a row, and back. */
class Values {
  readonly #path: string
  readonly #sealer: Sealer | undefined
  constructor(path: string, sealer: Sealer | undefined) { this.#path = path; this.#sealer = sealer }

  get seals(): boolean { return this.#sealer !== undefined }
  stored(kind: string, name: string, value: Uint8Array): Uint8Array { return this.#sealer ? this.#sealer.seal(value, purposeOf(kind, name)) : value }
  /** Undefined when the bytes are damaged: SQLite notices a page that is torn, not a byte that a worn flash cell has changed. Throws MESH_STATE_LOCKED. */
  read(row: Row): Uint8Array | undefined {
    const value = row['value'] as Uint8Array
    // Rows of the first schema carry no checksum.
    if (row['crc'] !== null && Number(row['crc']) !== zlib.crc32(value)) return undefined
    if (!isSealed(value)) return value
    if (!this.#sealer) throw new MeshError('MESH_STATE_LOCKED', `${this.#path} is sealed and identity.encryptionKey is not set`)
    try { return this.#sealer.open(value, purposeOf(String(row['kind']), String(row['name']))) } catch (thrown) {
      if (thrown instanceof MeshError) throw new MeshError('MESH_STATE_LOCKED', `${this.#path}: ${thrown.message}`, { cause: thrown })
      return undefined
    }
  }
}
const purposeOf = (kind: string, name: string): string => `snapshot ${kind} ${name}`

async function load(storage: Storage, node: string, values: Values): Promise<StoredSnapshot | undefined> {
  const state = new Map((await storage.query({ sql: 'SELECT key, value FROM state' })).map((r) => [String(r['key']), String(r['value'])]))
  if (state.get('node') !== node) return undefined
  const number = (key: string): number | undefined => { const value = state.get(key); return value === undefined ? undefined : Number(value) }
  const generation = number('generation') ?? 0
  const resources = Object.fromEntries(Object.keys(TYPE_URLS).map((kind) => [kind, new Map<string, RawResource>()])) as Record<ResourceKind, Map<string, RawResource>>
  const references = new Map<RawResource, References>()
  const damaged: string[] = []
  for (const row of await storage.query({ sql: 'SELECT kind, name, hash, version, refs, crc, value FROM resource WHERE to_generation IS NULL' })) {
    const kind = String(row['kind']) as ResourceKind
    let sound: Row | undefined = row
    let value = values.read(row)
    if (!value) {
      damaged.push(`${kind} ${String(row['name'])}`)
      sound = await versionBefore(storage, row, generation, values)
      value = sound && values.read(sound)
    }
    if (!sound || !value) continue
    const raw: RawResource = { name: String(sound['name']), hash: String(sound['hash']), version: String(sound['version']), value }
    resources[kind]?.set(raw.name, raw)
    references.set(raw, JSON.parse(String(sound['refs'])) as References)
  }
  if (values.seals) await sealPlain(storage, values)
  return {
    snapshot: { resources, savedAtMs: number('saved_at_ms') ?? 0 }, references, generation, damaged, contactAtMs: number('contact_at_ms'),
    changedAtMs: Object.fromEntries((Object.keys(TYPE_URLS) as ResourceKind[]).flatMap((kind) => { const at = number(`changed_at_ms ${kind}`); return at === undefined ? [] : [[kind, at]] })),
  }
}

async function versionBefore(storage: Storage, { kind, name }: Row, generation: number, values: Values): Promise<Row | undefined> {
  const rows = await storage.query({ sql: 'SELECT kind, name, hash, version, refs, crc, value FROM resource WHERE kind = ? AND name = ? AND to_generation = ?', params: [kind!, name!, generation] })
  return rows.find((row) => values.read(row) !== undefined)
}

/** What was stored before there was a key. */
async function sealPlain(storage: Storage, values: Values): Promise<void> {
  const rows = await storage.query({ sql: 'SELECT kind, name, from_generation, crc, value FROM resource' })
  await storage.commit(rows.filter((row) => !isSealed(row['value'] as Uint8Array) && values.read(row)).map((row): Statement => {
    const value = values.stored(String(row['kind']), String(row['name']), row['value'] as Uint8Array)
    return { sql: 'UPDATE resource SET value = ?, crc = ? WHERE kind = ? AND name = ? AND from_generation = ?', params: [value, zlib.crc32(value), row['kind']!, row['name']!, row['from_generation']!] }
  }))
}

function statementsOf({ node, generation, savedAtMs, contactAtMs, changedAtMs, changes }: Save, values: Values): Statement[] {
  const put = (key: string, value: string | number): Statement => ({ sql: 'INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', params: [key, String(value)] })
  return [
    // What another node left must not live on beside ours.
    { sql: 'DELETE FROM resource WHERE EXISTS (SELECT 1 FROM state WHERE key = \'node\' AND value <> ?)', params: [node] },
    ...changes.flatMap((c): Statement[] => [
      { sql: 'UPDATE resource SET to_generation = ? WHERE kind = ? AND name = ? AND to_generation IS NULL', params: [generation, c.kind, c.name] },
      ...(c.put ? [inserted(c, generation, values.stored(c.kind, c.name, c.put.value))] : []),
    ]),
    // Rows that ended before this save's generation belong to neither snapshot that is kept.
    ...(changes.length > 0 ? [{ sql: 'DELETE FROM resource WHERE to_generation < ?', params: [generation] }] : []),
    put('node', node), put('generation', generation), put('saved_at_ms', Math.round(savedAtMs)),
    ...(contactAtMs === undefined ? [] : [put('contact_at_ms', Math.round(contactAtMs))]),
    ...Object.entries(changedAtMs).map(([kind, at]) => put(`changed_at_ms ${kind}`, Math.round(at))),
  ]
}

function inserted({ kind, name, put, references }: Extract<SavedChange, { put: RawResource }>, generation: number, value: Uint8Array): Statement {
  return {
    sql: 'INSERT OR REPLACE INTO resource (kind, name, from_generation, to_generation, hash, version, refs, crc, value) VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?)',
    params: [kind, name, generation, put.hash, put.version, JSON.stringify(references), zlib.crc32(value), value],
  }
}
