/**
 * How a resource stands in the snapshot database. A row is a version of a resource, in force from one generation to
 * another: a head, which is JSON [kind, name, hash, version, references], and the Any's bytes. With a key both are
 * sealed as one value (core/pki/sealing.ts), bound to the row's key, which tells nothing of the name either.
 */
import { hash } from 'node:crypto'
import zlib from 'node:zlib'
import { MeshError } from '../../core/errors.ts'
import { isSealed, openSealed, type Sealer } from '../../core/pki/sealing.ts'
import type { Row } from '../../core/storage/storage.ts'
import type { RawResource, ResourceKind } from '../../model/snapshot.ts'
import { measureBytes, PackedResource, readBytes } from './packed-resource.ts'
import type { References } from '../references.ts'

/** While a row is in force. */
export const ROOM = "x'0000000000000000'"

/**
 * Schemas 1 and 2 had a column for each part, so that names stood in clear beside sealed values; their rows keep that
 * value, and their head has its checksum, too, and the references as text. `tally` of `state`, the sum of crc + 1 over
 * the rows in force, is kept by triggers: a page that has lost rows, or has those of another time, is found by whoever
 * reads everything (`weightOf`). With row ids, for flash: without them SQLite keeps no more than a quarter of a page of
 * a row in the tree, and a cluster of 1.1 kB takes a page of 4 KiB of its own beside it. And a row that ends keeps its
 * length, so that SQLite rewrites the pages that differ and not 500 kB of a route table: `to_generation` has no type,
 * which keeps it at eight bytes, behind `value`, and `room` gives up as many. Files that were begun before keep the
 * older layout; all else is the same in both. By `hash` a version that comes into force again finds its row.
 */
export const MIGRATIONS = [
  `
CREATE TABLE resource (
  kind TEXT NOT NULL, name TEXT NOT NULL, from_generation INTEGER NOT NULL, to_generation INTEGER,
  hash TEXT NOT NULL, version TEXT NOT NULL, refs TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (kind, name, from_generation)
) WITHOUT ROWID;
CREATE INDEX resource_ended ON resource (to_generation) WHERE to_generation IS NOT NULL;
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`,
  'ALTER TABLE resource ADD COLUMN crc INTEGER',
  `
CREATE TABLE record (key TEXT NOT NULL, from_generation INTEGER NOT NULL, crc INTEGER, head TEXT NOT NULL, value BLOB NOT NULL, to_generation, PRIMARY KEY (key, from_generation));
CREATE INDEX record_ended ON record (to_generation) WHERE to_generation IS NOT NULL;
INSERT INTO state (key, value) VALUES ('tally', 0);
CREATE TRIGGER record_in AFTER INSERT ON record WHEN new.to_generation IS NULL BEGIN
  UPDATE state SET value = value + coalesce(new.crc, 0) + 1 WHERE key = 'tally';
END;
CREATE TRIGGER record_out AFTER DELETE ON record WHEN old.to_generation IS NULL BEGIN
  UPDATE state SET value = value - coalesce(old.crc, 0) - 1 WHERE key = 'tally';
END;
CREATE TRIGGER record_changed AFTER UPDATE ON record BEGIN
  UPDATE state SET value = value + iif(new.to_generation IS NULL, coalesce(new.crc, 0) + 1, 0) - iif(old.to_generation IS NULL, coalesce(old.crc, 0) + 1, 0) WHERE key = 'tally';
END;
INSERT INTO record (key, from_generation, head, value, to_generation) SELECT kind || ' ' || name, from_generation, json_array(kind, name, hash, version, refs, crc), value, to_generation FROM resource;
DROP TABLE resource;
`,
  `ALTER TABLE record ADD COLUMN room BLOB DEFAULT ${ROOM}`,
  'ALTER TABLE record ADD COLUMN hash TEXT',
  // Values may be compressed, which an earlier version does not know.
  '',
]

/** Kinds begin with a letter. */
export const FIRST_SEALED = '~'

export type StoredResource = { readonly kind: ResourceKind; readonly raw: RawResource; readonly references: References }
/**
 * `hash`: what earlier versions compared by; it has a column of its own now. `length`: of the value, which is
 * compressed (zstd); left out: it is as it is.
 */
type Head = readonly [
  kind: ResourceKind,
  name: string,
  hash: string,
  version: string,
  references: References | string,
  crc?: number | null,
  length?: number,
]

/** `hash`: of the bytes; null where they are sealed, of which it would tell something. */
export type Columns = {
  readonly crc: number
  readonly hash: string | null
  readonly head: string
  readonly value: Uint8Array
}

export class Records {
  readonly #path: string
  readonly #sealer: Sealer | undefined
  /** @param path for messages */
  constructor(path: string, sealer: Sealer | undefined) {
    this.#path = path
    this.#sealer = sealer
  }

  get seals(): boolean {
    return this.#sealer !== undefined
  }

  /** "kind name", or what stands for it when names are secret: the first of these comes after the last of those. */
  keyOf(name: string): string {
    return this.#sealer ? FIRST_SEALED + this.#sealer.standIn(name) : name
  }

  /** `value` is good until others have a turn. */
  stored(key: string, { kind, raw, references }: StoredResource): Columns {
    const packed = raw instanceof PackedResource ? raw.packed : undefined
    const plain = [kind, raw.name, '', raw.version, references] as const
    const head: Head = packed ? [...plain, null, measureBytes(raw)] : plain
    return this.#columns(key, JSON.stringify(head), packed ?? readBytes(raw))
  }
  #columns(key: string, head: string, value: Uint8Array): Columns {
    if (!this.#sealer) return { crc: crcOf(head, value), hash: hash('sha256', value, 'base64'), head, value }
    const sealed = this.#sealer.seal(Buffer.concat([Buffer.from(`${head}\n`), value]), purposeOf(key))
    return { crc: crcOf('', sealed), hash: null, head: '', value: sealed }
  }

  /**
   * Undefined when the row is damaged: SQLite notices a page that is torn, not a byte that a worn flash cell has
   * changed. Throws MESH_STATE_LOCKED.
   */
  read({ key, crc, ...row }: Row): StoredResource | undefined {
    let [line, value] = [String(row['head']), row['value'] as Uint8Array | undefined]
    if (!(value instanceof Uint8Array) || (crc !== null && Number(crc) !== crcOf(line, value))) return undefined
    if (line === '') {
      const plain = isSealed(value) ? this.#open(value, purposeOf(String(key))) : undefined
      const end = plain?.indexOf('\n') ?? -1
      if (!plain || end < 0) return undefined
      // A view would keep the head's bytes for as long as the resource serves.
      ;[line, value] = [plain.toString('utf8', 0, end), new Uint8Array(plain.subarray(end + 1))]
    }
    const head = headOf(line)
    if (!head) return undefined
    const [kind, name, , version, references, oldCrc, length] = head
    // A page may be somebody else's, and look sound.
    if (row['head'] !== '' && key !== `${kind} ${name}`) return undefined
    if (typeof references !== 'string') {
      const raw =
        length === undefined
          ? new PackedResource({ name, version, value })
          : PackedResource.fromPacked({ name, version }, value, length)
      return { kind, raw, references }
    }
    if (typeof oldCrc === 'number' && oldCrc !== zlib.crc32(value)) return undefined
    const opened = isSealed(value) ? this.#open(value, `snapshot ${kind} ${name}`) : value
    try {
      return (
        opened && {
          kind,
          raw: new PackedResource({ name, version, value: opened }),
          references: JSON.parse(references) as References,
        }
      )
    } catch {
      return undefined
    }
  }

  /**
   * A row of before there was a key, or of a schema with names in clear, as it is to be. One that is damaged stays
   * damaged.
   */
  sealedAnew(row: Row): Columns & { readonly key: string } {
    const read = this.read(row)
    const key = this.keyOf(read ? `${read.kind} ${read.raw.name}` : String(row['key']))
    if (read) return { key, ...this.stored(key, read) }
    const { crc, ...rest } = this.#columns(key, String(row['head']), Buffer.from(row['value'] as Uint8Array))
    return { key, ...rest, crc: (crc ^ 1) >>> 0 }
  }

  #open(sealed: Uint8Array, purpose: string): Buffer | undefined {
    try {
      return openSealed(sealed, { sealer: this.#sealer, purpose, file: this.#path })
    } catch (thrown) {
      if (thrown instanceof MeshError) throw thrown
      return undefined
    }
  }
}

/** What a row in force adds to the tally. */
export const measureWeight = ({ crc }: Row): number => Number(crc ?? 0) + 1

const purposeOf = (key: string): string => `snapshot ${key}`

const crcOf = (head: string, value: Uint8Array): number => zlib.crc32(value, zlib.crc32(head))

function headOf(line: string): Head | undefined {
  try {
    // The type follows from the check: a tuple cannot be narrowed from an array of unknown length.
    const head: unknown = JSON.parse(line)
    return Array.isArray(head) && head.length >= 5 && head.slice(0, 4).every((part) => typeof part === 'string')
      ? (head as unknown as Head)
      : undefined
  } catch {
    return undefined
  }
}
