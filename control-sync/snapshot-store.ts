/**
 * The last good snapshot and the one before, in SQLite: what the agent starts from when no control plane answers. Each row says from which
 * generation to which a version of a resource was in force, so a save writes what changed and nothing else.
 */
import zlib from 'node:zlib'
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
  /** Undefined when there is none for this node. @param node the node's id: another node's configuration must never be served */
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
export async function openSnapshotStore(openStorage: OpenStorage, path: string): Promise<SnapshotStore> {
  const { storage, setAside } = await openStorage({ path, profile: 'strict', migrations: MIGRATIONS })
  return {
    setAside,
    load: (node) => load(storage, node),
    save: (p) => storage.commit(statementsOf(p)),
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  }
}

async function load(storage: Storage, node: string): Promise<StoredSnapshot | undefined> {
  const state = new Map((await storage.query({ sql: 'SELECT key, value FROM state' })).map((r) => [String(r['key']), String(r['value'])]))
  if (state.get('node') !== node) return undefined
  const number = (key: string): number | undefined => { const value = state.get(key); return value === undefined ? undefined : Number(value) }
  const generation = number('generation') ?? 0
  const resources = Object.fromEntries(Object.keys(TYPE_URLS).map((kind) => [kind, new Map<string, RawResource>()])) as Record<ResourceKind, Map<string, RawResource>>
  const references = new Map<RawResource, References>()
  const damaged: string[] = []
  for (const row of await storage.query({ sql: 'SELECT kind, name, hash, version, refs, crc, value FROM resource WHERE to_generation IS NULL' })) {
    const kind = String(row['kind']) as ResourceKind
    const sound = isSound(row) ? row : await versionBefore(storage, row, generation)
    if (sound !== row) damaged.push(`${kind} ${String(row['name'])}`)
    if (!sound) continue
    const raw: RawResource = { name: String(sound['name']), hash: String(sound['hash']), version: String(sound['version']), value: sound['value'] as Uint8Array }
    resources[kind]?.set(raw.name, raw)
    references.set(raw, JSON.parse(String(sound['refs'])) as References)
  }
  return {
    snapshot: { resources, savedAtMs: number('saved_at_ms') ?? 0 }, references, generation, damaged, contactAtMs: number('contact_at_ms'),
    changedAtMs: Object.fromEntries((Object.keys(TYPE_URLS) as ResourceKind[]).flatMap((kind) => { const at = number(`changed_at_ms ${kind}`); return at === undefined ? [] : [[kind, at]] })),
  }
}

/** SQLite notices a page that is torn, not a byte that a worn flash cell has changed. Rows of the first schema carry no checksum. */
function isSound(row: Row): boolean { return row['crc'] === null || Number(row['crc']) === zlib.crc32(row['value'] as Uint8Array) }

async function versionBefore(storage: Storage, { kind, name }: Row, generation: number): Promise<Row | undefined> {
  const rows = await storage.query({ sql: 'SELECT kind, name, hash, version, refs, crc, value FROM resource WHERE kind = ? AND name = ? AND to_generation = ?', params: [kind!, name!, generation] })
  return rows.find(isSound)
}

function statementsOf({ node, generation, savedAtMs, contactAtMs, changedAtMs, changes }: Save): Statement[] {
  const put = (key: string, value: string | number): Statement => ({ sql: 'INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', params: [key, String(value)] })
  return [
    // What another node left must not live on beside ours.
    { sql: 'DELETE FROM resource WHERE EXISTS (SELECT 1 FROM state WHERE key = \'node\' AND value <> ?)', params: [node] },
    ...changes.flatMap((c): Statement[] => [
      { sql: 'UPDATE resource SET to_generation = ? WHERE kind = ? AND name = ? AND to_generation IS NULL', params: [generation, c.kind, c.name] },
      ...(c.put ? [{
        sql: 'INSERT OR REPLACE INTO resource (kind, name, from_generation, to_generation, hash, version, refs, crc, value) VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?)',
        params: [c.kind, c.name, generation, c.put.hash, c.put.version, JSON.stringify(c.references), zlib.crc32(c.put.value), c.put.value],
      }] : []),
    ]),
    // Rows that ended before this save's generation belong to neither snapshot that is kept.
    ...(changes.length > 0 ? [{ sql: 'DELETE FROM resource WHERE to_generation < ?', params: [generation] }] : []),
    put('node', node), put('generation', generation), put('saved_at_ms', Math.round(savedAtMs)),
    ...(contactAtMs === undefined ? [] : [put('contact_at_ms', Math.round(contactAtMs))]),
    ...Object.entries(changedAtMs).map(([kind, at]) => put(`changed_at_ms ${kind}`, Math.round(at))),
  ]
}
