/**
 * Which fields leave as never-indexed literals (RFC 7541 §7.1.3). An attacker who can put fields beside a secret on one
 * connection, and sees how long the blocks are, can guess at what stands in the table. What never enters a table cannot
 * be guessed so.
 */

/** No table ever holds them: a password may be short enough to be guessed. */
const SECRET = new Set(['authorization', 'proxy-authorization', 'set-cookie'])
/**
 * A cookie this long may be indexed, as nghttp2 does: a table gives away whole values only (§7.1.1), and nobody guesses
 * a session of 20 bytes as a whole. Browsers repeat their cookies in each request; to leave them out would cost much.
 */
const MIN_INDEXED_COOKIE_BYTES = 20

/**
 * Hashes of fields that came as never-indexed and have to leave so (§6.2.3). Lists of fields do not carry the mark, and
 * keeping the values would be keeping secrets. One table serves the process. Its size is fixed; the newest of a slot
 * counts. A peer that marks what others send openly takes the compression from exactly these fields, and so does a hash
 * that two fields share; nothing else comes of it. A peer that wants a mark forgotten has to fill the table between the
 * arrival of a field and its leaving. The field then leaves as a literal without indexing; it enters a table only when
 * the same happens twice on one connection.
 */
const MARKS = new Int32Array(8192)
/** Of long values, so many characters at each end are hashed. */
const HASHED_CHARACTERS = 32

export function isSecretName(name: string): boolean {
  return name === 'cookie' || SECRET.has(name)
}

/** Whether the field must not enter a table, whoever sent it and however it came. */
export function isSecret(name: string, value: string): boolean {
  return name === 'cookie' ? value.length < MIN_INDEXED_COOKIE_BYTES : SECRET.has(name)
}

/** Never 0. */
export function hashField(name: string, value: string): number {
  const { length } = value
  const ofName = (name.length << 16) | (name.charCodeAt(name.length >> 1) << 8) | name.charCodeAt(name.length - 1)
  let hash = Math.imul(ofName, 0x9e3779b1) ^ length
  const head = length <= 2 * HASHED_CHARACTERS ? length : HASHED_CHARACTERS
  for (let i = 0; i < head; i++) hash = Math.imul(hash ^ value.charCodeAt(i), 0x01000193)
  if (head < length) {
    for (let i = length - HASHED_CHARACTERS; i < length; i++) hash = Math.imul(hash ^ value.charCodeAt(i), 0x01000193)
  }
  hash ^= hash >>> 15
  return hash === 0 ? 1 : hash
}

/**
 * The pieces of a cookie (RFC 9113 §8.2.3) as one field, which is never indexed when one of them is not.
 * @param pieces more than one
 */
export function joinCookie(pieces: readonly string[]): string {
  const joined = pieces.join('; ')
  if (pieces.some((piece) => isNeverIndexed(hashField('cookie', piece)))) markNeverIndexed(hashField('cookie', joined))
  return joined
}
export function markNeverIndexed(hash: number): void {
  MARKS[hash & (MARKS.length - 1)] = hash
}
export function isNeverIndexed(hash: number): boolean {
  return MARKS[hash & (MARKS.length - 1)] === hash
}
