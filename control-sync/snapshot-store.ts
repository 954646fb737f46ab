/**
 * The last good snapshot and the one before, in SQLite: what the agent starts from when no control plane answers. Each row says from which
 * generation to which a version of a resource was in force, so a push writes what changed and nothing else.
 */
import type { OpenStorage, Statement, Storage } from '../agent/core/storage.ts'
import { TYPE_URLS, type RawResource, type ResourceKind, type Snapshot } from '../agent/model/snapshot.ts'
import type { References } from './references.ts'

export type StoredSnapshot = { readonly snapshot: Snapshot; readonly references: ReadonlyMap<RawResource, References>; readonly generation: number }
export type SavedChange =
  | { readonly kind: ResourceKind; readonly name: string; readonly put: RawResource; readonly references: References }
  | { readonly kind: ResourceKind; readonly name: string; readonly put: undefined }

export interface SnapshotStore extends AsyncDisposable {
  /** Undefined when there is none for this node. @param node the node's id: another node's configuration must never be served */
  load(node: string): Promise<StoredSnapshot | undefined>
  /** Rejects with MESH_STORAGE_FULL or MESH_STORAGE_FAILED; then the stored snapshot is the one before. */
  save(p: { readonly node: string; readonly generation: number; readonly savedAtMs: number; readonly changes: readonly SavedChange[] }): Promise<void>
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
`]

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
  const resources = Object.fromEntries(Object.keys(TYPE_URLS).map((kind) => [kind, new Map<string, RawResource>()])) as Record<ResourceKind, Map<string, RawResource>>
  const references = new Map<RawResource, References>()
  for (const row of await storage.query({ sql: 'SELECT kind, name, hash, version, refs, value FROM resource WHERE to_generation IS NULL' })) {
    const raw: RawResource = { name: String(row['name']), hash: String(row['hash']), version: String(row['version']), value: row['value'] as Uint8Array }
    resources[String(row['kind']) as ResourceKind]?.set(raw.name, raw)
    references.set(raw, JSON.parse(String(row['refs'])) as References)
  }
  return { snapshot: { resources, savedAtMs: Number(state.get('saved_at_ms') ?? 0) }, references, generation: Number(state.get('generation') ?? 0) }
}

function statementsOf({ node, generation, savedAtMs, changes }: Parameters<SnapshotStore['save']>[0]): Statement[] {
  const put = (key: string, value: string | number): Statement => ({ sql: 'INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', params: [key, String(value)] })
  return [
    // What another node left must not live on beside ours.
    { sql: 'DELETE FROM resource WHERE EXISTS (SELECT 1 FROM state WHERE key = \'node\' AND value <> ?)', params: [node] },
    ...changes.flatMap((c): Statement[] => [
      { sql: 'UPDATE resource SET to_generation = ? WHERE kind = ? AND name = ? AND to_generation IS NULL', params: [generation, c.kind, c.name] },
      ...(c.put ? [{
        sql: 'INSERT OR REPLACE INTO resource (kind, name, from_generation, to_generation, hash, version, refs, value) VALUES (?, ?, ?, NULL, ?, ?, ?, ?)',
        params: [c.kind, c.name, generation, c.put.hash, c.put.version, JSON.stringify(c.references), c.put.value],
      }] : []),
    ]),
    // Rows that ended before the previous generation belong to neither snapshot that is kept.
    { sql: 'DELETE FROM resource WHERE to_generation < ?', params: [generation] },
    put('node', node), put('generation', generation), put('saved_at_ms', Math.round(savedAtMs)),
  ]
}
