/**
 * Secrets at rest: AES-256-GCM under a key that is not on the same disk (systemd's credentials, a TPM's). What is
 * sealed says so in its first bytes and names its key, so that another key is told from damage and never takes the file
 * for broken.
 *
 * Format, version 1: "meshlet-sealed\x01" · key id (8 bytes) · nonce (12) · ciphertext · tag (16). Header, key id and
 * purpose are authenticated.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { MeshError } from '../errors.ts'

const MAGIC = Buffer.from('meshlet-sealed')
const VERSION = 1
const KEY_BYTES = 32
const [KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES, STAND_IN_BYTES] = [8, 12, 16, 16]
const HEADER_BYTES = MAGIC.length + 1 + KEY_ID_BYTES + NONCE_BYTES

export type Sealer = {
  /** @param purpose what the bytes are, e.g. "identity"; bytes of one purpose do not open as another's */
  seal(plain: Uint8Array, purpose: string): Buffer
  /** Throws MESH_STATE_LOCKED (another key, a newer format) or RangeError (damaged, or never sealed). */
  open(sealed: Uint8Array, purpose: string): Buffer
  /**
   * 22 letters that stand for a name where it is looked up: the same for the same name, and nothing without the key.
   */
  standIn(name: string): string
}

export function isSealed(bytes: Uint8Array): boolean {
  return bytes.length >= MAGIC.length && MAGIC.equals(bytes.subarray(0, MAGIC.length))
}

/**
 * @param key 32 bytes as they are, or in base64
 * @param where for the message
 * Throws MESH_CONFIG_INVALID; the key's text is not repeated.
 */
export function createSealer(key: Uint8Array, where: string): Sealer {
  const bytes = keyBytes(Buffer.from(key))
  if (!bytes)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${where} must hold 32 bytes, as they are or in base64 (head -c 32 /dev/urandom)`,
    )
  const derived = (info: string, length: number): Buffer =>
    Buffer.from(hkdfSync('sha256', bytes, Buffer.alloc(0), `meshlet ${info} v1`, length))
  const [cipherKey, keyId, nameKey] = [
    derived('sealed', KEY_BYTES),
    derived('key id', KEY_ID_BYTES),
    derived('name', KEY_BYTES),
  ]
  const bound = (head: Buffer, purpose: string): Buffer => Buffer.concat([head, Buffer.from(purpose)])
  return {
    standIn: (name) => createHmac('sha256', nameKey).update(name).digest().toString('base64url', 0, STAND_IN_BYTES),
    seal(plain, purpose) {
      const nonce = randomBytes(NONCE_BYTES)
      const head = Buffer.concat([MAGIC, Buffer.of(VERSION), keyId])
      const cipher = createCipheriv('aes-256-gcm', cipherKey, nonce).setAAD(bound(head, purpose))
      return Buffer.concat([head, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    },
    open(sealed, purpose) {
      const all = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      if (!isSealed(all) || all.length < HEADER_BYTES + TAG_BYTES)
        throw new RangeError('it is not sealed, or cut short')
      const version = all[MAGIC.length]!
      if (version !== VERSION)
        throw new MeshError('MESH_STATE_LOCKED', `it was sealed by another version of meshlet (format ${version})`)
      const head = all.subarray(0, MAGIC.length + 1 + KEY_ID_BYTES)
      if (!head.subarray(MAGIC.length + 1).equals(keyId))
        throw new MeshError('MESH_STATE_LOCKED', 'it was sealed with another key')
      const opener = createDecipheriv('aes-256-gcm', cipherKey, all.subarray(head.length, HEADER_BYTES))
        .setAAD(bound(head, purpose))
        .setAuthTag(all.subarray(-TAG_BYTES))
      try {
        return Buffer.concat([opener.update(all.subarray(HEADER_BYTES, -TAG_BYTES)), opener.final()])
      } catch (cause) {
        throw new RangeError('its contents are not those that were sealed', { cause })
      }
    },
  }
}

/**
 * What stands in `file`, which is sealed. Throws MESH_STATE_LOCKED (no key, another, a newer format), naming the file,
 * or RangeError (damaged).
 */
export function openSealed(
  sealed: Uint8Array,
  { sealer, purpose, file }: { readonly sealer: Sealer | undefined; readonly purpose: string; readonly file: string },
): Buffer {
  if (!sealer) throw new MeshError('MESH_STATE_LOCKED', `${file} is sealed and identity.encryptionKey is not set`)
  try {
    return sealer.open(sealed, purpose)
  } catch (thrown) {
    if (thrown instanceof MeshError) throw new MeshError(thrown.code, `${file}: ${thrown.message}`, { cause: thrown })
    throw thrown
  }
}

function keyBytes(given: Buffer): Buffer | undefined {
  if (given.length === KEY_BYTES) return given
  const text = given.toString('latin1').trim()
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return undefined
  const decoded = Buffer.from(text, 'base64')
  return decoded.length === KEY_BYTES ? decoded : undefined
}
