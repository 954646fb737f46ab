/**
 * Which fields leave as never-indexed literals (RFC 7541 §7.1.3). Who may put fields of his own beside somebody else's secret on one connection,
 * and sees how long the blocks are, can guess at what stands in the table; what never enters a table cannot be guessed so.
 */

/** Short or guessed piecemeal: no table ever holds them. */
const SECRET = new Set(['authorization', 'proxy-authorization', 'set-cookie'])
/**
 * A cookie this long may be indexed, as nghttp2 does: a table gives away whole values only (§7.1), and nobody guesses a session of 20 bytes as a
 * whole. Browsers repeat their cookies in each request, so that leaving them out of the table costs much.
 */
const MIN_INDEXED_COOKIE_BYTES = 20

/**
 * Hashes of fields that came as never-indexed and have to leave so. Flat arrays of fields cannot carry the mark along, and keeping the values
 * would keep secrets. One table serves the process: its size is fixed, the newest of a slot counts. A hash that two fields share, or a peer who
 * marks what others send openly, costs those who send exactly this field its compression, nothing else. A peer who wants a mark forgotten
 * has to fill the table between the arrival of a request and its leaving, and gets a literal without indexing.
 */
const MARKS = new Int32Array(8192)
/** Of long values, so many characters at each end are hashed. */
const HASHED_CHARACTERS = 32

export function isSecretName(name: string): boolean { return name === 'cookie' || SECRET.has(name) }

/** Whether the field must not enter a table, whoever sent it and however it came. */
export function isSecret(name: string, value: string): boolean {
  return name === 'cookie' ? value.length < MIN_INDEXED_COOKIE_BYTES : SECRET.has(name)
}

/** Never 0. */
export function fieldHash(name: string, value: string): number {
  let hash = Math.imul(name.length * 31 + name.charCodeAt(name.length >> 1), 0x9e3779b1) ^ value.length
  const { length } = value
  const head = length <= 2 * HASHED_CHARACTERS ? length : HASHED_CHARACTERS
  for (let i = 0; i < head; i++) hash = Math.imul(hash ^ value.charCodeAt(i), 0x01000193)
  if (head < length) {
    for (let i = length - HASHED_CHARACTERS; i < length; i++) hash = Math.imul(hash ^ value.charCodeAt(i), 0x01000193)
  }
  hash ^= hash >>> 15
  return hash === 0 ? 1 : hash
}

export function markNeverIndexed(hash: number): void { MARKS[hash & (MARKS.length - 1)] = hash }
export function isNeverIndexed(hash: number): boolean { return MARKS[hash & (MARKS.length - 1)] === hash }
