/** Names that users may have, whatever proves them. */

/** Of a name in a token, a certificate or a CONNECT, where MQTT permits 65,535 bytes: it stands in logs and rows. */
const MAX_CHARS = 256

/**
 * `/`, `+`, `#` and `%` may stand in a name: a rule with %u does not match by one that has one of the first three
 * (authorization/), and nothing is put in twice.
 * @returns why it is none
 */
export function findUserNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name.length > MAX_CHARS) return `is longer than ${MAX_CHARS} characters`
  // Whitespace at an end cannot be written in a password file, and looks like another user.
  if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(name) || name.trim() !== name)
    return 'has control characters, or spaces at an end'
  return undefined
}
