/**
 * The tables of the snapshot database, read and written. A row says from which generation to which a version of a
 * resource was in force.
 */
import { MeshError } from '../../core/errors.ts'
import { listValues, type Row, type Statement, type Storage } from '../../core/storage/storage.ts'
import { TYPE_URLS, type RawResource, type ResourceKind } from '../../model/snapshot.ts'
import type { References } from '../references.ts'
import { FIRST_SEALED, ROOM, measureWeight, type Records } from './records.ts'
import type { Copied, Save, SavedChange, StoredSnapshot } from './types.ts'

export type Loaded = {
  /** Undefined when there is none of this node. */
  readonly stored: StoredSnapshot | undefined
  readonly everSaved: boolean
  readonly copied: Copied | undefined
  /** Sealing was begun, and what was in clear may still stand in free pages and in the copy. */
  readonly sealing: boolean
}

/** Earlier versions named it by Envoy's node id, sidecar~IP~NAME.NS~DOMAIN, and lost it with the address. */
function isOf(stored: string, node: string): boolean {
  return stored === node || /^sidecar~[^~]+~([^~]+)~[^~]*$/.exec(stored)?.[1] === node.split(' ')[0]
}

const KINDS = Object.keys(TYPE_URLS) as ResourceKind[]
const SEALING = 'sealing'

/**
 * Rejects with MESH_STATE_LOCKED, or with MESH_STORAGE_DAMAGED when rows are missing or are of another time than the
 * rest.
 */
export async function load(storage: Storage, node: string, records: Records): Promise<Loaded> {
  const state = new State(await storage.query({ sql: 'SELECT key, value FROM state' }))
  const [generation, copiedGeneration] = [state.number('generation') ?? 0, state.number('copied_generation')]
  const common = {
    everSaved: state.has('node'),
    copied:
      copiedGeneration === undefined
        ? undefined
        : { generation: copiedGeneration, atMs: state.number('copied_at_ms') ?? 0 },
    sealing: state.has(SEALING),
  }
  if (!state.has('node') && state.text('tally') !== '0')
    throw new MeshError('MESH_STORAGE_DAMAGED', 'it does not say whose it is')
  const owner = state.text('node')
  if (owner === undefined || !isOf(owner, node)) return { ...common, stored: undefined, copied: undefined }
  if (owner !== node) await storage.commit([put('node', node)]).catch(() => undefined)
  // A control plane that was heard of and sent nothing: taken for a snapshot, it would have the agent ready with an
  // empty one.
  if (generation === 0) return { ...common, stored: undefined }
  const { tally, ...read } = await readRecords(storage, generation, records)
  if (tally !== state.number('tally'))
    throw new MeshError('MESH_STORAGE_DAMAGED', 'resources are missing in it, or are those of another time')
  return {
    ...common,
    stored: {
      snapshot: { resources: read.resources, savedAtMs: state.number('saved_at_ms') ?? 0 },
      references: read.references,
      generation,
      damaged: read.damaged,
      contactAtMs: state.number('contact_at_ms'),
      changedAtMs: Object.fromEntries(
        KINDS.flatMap((kind) => {
          const atMs = state.number(`changed_at_ms ${kind}`)
          return atMs === undefined ? [] : [[kind, atMs]]
        }),
      ),
    },
  }
}

/** The table of single values. */
class State {
  readonly #values: ReadonlyMap<string, string>
  constructor(rows: readonly Row[]) {
    this.#values = new Map(rows.map((r) => [String(r['key']), String(r['value'])]))
  }
  has(key: string): boolean {
    return this.#values.has(key)
  }
  text(key: string): string | undefined {
    return this.#values.get(key)
  }
  number(key: string): number | undefined {
    const value = this.#values.get(key)
    return value === undefined ? undefined : Number(value)
  }
}

/** All resources in force. `tally`: what their rows weigh together, those that are damaged too. */
async function readRecords(
  storage: Storage,
  generation: number,
  records: Records,
): Promise<{
  readonly resources: StoredSnapshot['snapshot']['resources']
  readonly references: StoredSnapshot['references']
  readonly damaged: readonly string[]
  readonly tally: number
}> {
  const resources = Object.fromEntries(KINDS.map((kind) => [kind, new Map<string, RawResource>()])) as Record<
    ResourceKind,
    Map<string, RawResource>
  >
  const references = new Map<RawResource, References>()
  const damaged: string[] = []
  let tally = 0
  for (const row of await storage.query({
    sql: 'SELECT key, crc, head, value FROM record WHERE to_generation IS NULL',
  })) {
    tally += measureWeight(row)
    let read = records.read(row)
    if (!read) {
      read = await versionBefore(storage, row, generation, records)
      damaged.push(read ? `${read.kind} ${read.raw.name}` : String(row['key']))
    }
    if (!read) continue
    resources[read.kind]?.set(read.raw.name, read.raw)
    references.set(read.raw, read.references)
  }
  return { resources, references, damaged, tally }
}

async function versionBefore(
  storage: Storage,
  { key }: Row,
  generation: number,
  records: Records,
): Promise<ReturnType<Records['read']>> {
  const rows = await storage.query({
    sql: 'SELECT key, crc, head, value FROM record WHERE key = ? AND to_generation = ?',
    params: [key!, generation],
  })
  return rows.map((row) => records.read(row)).find((read) => read !== undefined)
}

/**
 * Seals what was stored before there was a key, or by a schema with names in clear, so that none of it is left: not in
 * free pages, the log or the copy. Gives back the room of a mesh that has become much smaller.
 * @param mark whether a run before this one was stopped in the middle
 * @param copyAt where the copy is, if there is one
 */
export async function tidy(
  storage: Storage,
  { records, mark, copyAt }: { readonly records: Records; readonly mark: boolean; readonly copyAt: string | undefined },
): Promise<void> {
  const clear = records.seals
    ? await storage.query({
        sql: 'SELECT key, from_generation, crc, head, value FROM record WHERE key < ?',
        params: [FIRST_SEALED],
      })
    : []
  if (clear.length === 0 && !(records.seals && mark)) {
    // Not worth a start: should it fail, the next one tries again.
    if (await isMostlyFree(storage)) await storage.query({ sql: 'VACUUM' }).catch(() => undefined)
    return
  }
  await storage.commit([
    put(SEALING, 1),
    ...clear.map((row): Statement => {
      const { key, crc, hash, head, value } = records.sealedAnew(row)
      return {
        sql: 'UPDATE record SET key = ?, crc = ?, hash = ?, head = ?, value = ? WHERE key = ? AND from_generation = ?',
        params: [key, crc, hash, head, value, row['key']!, row['from_generation']!],
      }
    }),
  ])
  await storage.query({ sql: 'VACUUM' })
  await storage.query({ sql: 'PRAGMA wal_checkpoint(TRUNCATE)' })
  if (copyAt !== undefined) await storage.copyTo(copyAt)
  await storage.commit([{ sql: 'DELETE FROM state WHERE key = ?', params: [SEALING] }])
}

async function isMostlyFree(storage: Storage): Promise<boolean> {
  const [row] = await storage.query({
    sql: 'SELECT freelist_count > 256 AND freelist_count * 2 > page_count AS free FROM pragma_freelist_count, pragma_page_count',
  })
  return row?.['free'] === 1
}

const put = (key: string, value: string | number): Statement => ({
  sql: 'INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
  params: [key, String(value)],
})

export const copyStatements = ({ generation, atMs }: Copied): Statement[] => [
  put('copied_generation', generation),
  put('copied_at_ms', Math.round(atMs)),
]

/**
 * Between two pieces others get a turn when the last one took long: a first push has a thousand changes.
 */
const CHANGES_PER_PIECE = 256

export function* savePieces(
  { node, generation, savedAtMs, contactAtMs, changedAtMs, changes }: Save,
  records: Records,
): Generator<readonly Statement[]> {
  // What another node left must not live on beside ours.
  yield [
    {
      sql: "DELETE FROM record WHERE EXISTS (SELECT 1 FROM state WHERE key = 'node' AND value <> ? AND value NOT GLOB ?)",
      params: [node, `sidecar~*~${node.split(' ')[0]}~*`],
    },
  ]
  const byKey = new Map<string, SavedChange>()
  for (const some of piecesOf(changes)) {
    // With a key it is a keyed hash of each name, which takes long for thousands.
    for (const change of some) byKey.set(records.keyOf(`${change.kind} ${change.name}`), change)
    yield []
  }
  // Rows that come in the order of their keys fill page after page.
  for (const keys of piecesOf([...byKey.keys()].toSorted()))
    yield keys.flatMap((key) => changed(key, byKey.get(key)!, generation, records))
  yield [
    // Rows that ended before this save's generation belong to neither snapshot that is kept.
    ...(changes.length > 0 ? [{ sql: 'DELETE FROM record WHERE to_generation < ?', params: [generation] }] : []),
    put('node', node),
    put('generation', generation),
    put('saved_at_ms', Math.round(savedAtMs)),
    ...(contactAtMs === undefined ? [] : [put('contact_at_ms', Math.round(contactAtMs))]),
    ...Object.entries(changedAtMs).map(([kind, at]) => put(`changed_at_ms ${kind}`, Math.round(at))),
  ]
}

function* piecesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let i = 0; i < all.length; i += CHANGES_PER_PIECE) yield all.slice(i, i + CHANGES_PER_PIECE)
}

/**
 * A version that was in force before the last comes into force again as the row that it has, when its bytes are found
 * there sound: what is taken back, or goes to and fro, is not written anew. Of a route table that is half a megabyte of
 * flash.
 */
function changed(key: string, change: SavedChange, generation: number, records: Records): readonly Statement[] {
  if (!change.put) return [{ sql: ENDED, params: { key, generation } }]
  const params = {
    key,
    generation,
    ...records.stored(key, { kind: change.kind, raw: change.put, references: change.references }),
  }
  return [{ sql: ENDED, params }, ...(params.hash === null ? [] : [{ sql: AGAIN, params }]), { sql: PUT, params }]
}
const ENDED = "UPDATE record SET to_generation = @generation, room = x'' WHERE key = @key AND to_generation IS NULL"
/** By `hash` first: bytes are read only where they may be the same. */
const AGAIN = `UPDATE record SET to_generation = NULL, room = ${ROOM}, crc = @crc, head = @head WHERE key = @key AND hash = @hash AND value = @value`
const PUT = `INSERT OR REPLACE INTO record (key, from_generation, to_generation, crc, head, value, hash) SELECT @key, @generation, NULL, @crc, @head, @value, @hash
  WHERE NOT EXISTS (SELECT 1 FROM record WHERE key = @key AND to_generation IS NULL)`

/** Of the values that stand in them, each counted once. */
export function countBytes(statements: readonly Statement[]): number {
  let bytes = 0
  for (const params of new Set(statements.map((s) => s.params)))
    for (const value of listValues(params ?? []))
      if (typeof value === 'string' || value instanceof Uint8Array) bytes += value.length
  return bytes
}
