/**
 * Topic names and filters (MQTT 5.0 §4.7): what is well-formed, what matches what, and shared subscriptions' names
 * (§4.8.2). Pure.
 */

/** A filter or topic between its slashes. */
export type Levels = readonly string[]

/**
 * Splits off `$share/<group>/`. Undefined for an ordinary filter; 'invalid' for a malformed shared one [MQTT-4.8.2-1,
 * -2].
 */
export function parseSharedFilter(
  filter: string,
): { readonly group: string; readonly filter: string } | undefined | 'invalid' {
  if (!filter.startsWith('$share/')) return filter === '$share' ? 'invalid' : undefined
  const end = filter.indexOf('/', 7)
  const group = end < 0 ? '' : filter.slice(7, end)
  if (group === '' || /[+#]/.test(group) || end + 1 >= filter.length) return 'invalid'
  return { group, filter: filter.slice(end + 1) }
}

/** @returns what is wrong with an ordinary filter, with the statement's number; undefined when it is well-formed */
export function filterProblem(filter: string): string | undefined {
  if (filter === '') return '[MQTT-4.7.3-1] the topic filter is empty'
  if (filter.includes('\0')) return '[MQTT-4.7.3-2] the topic filter holds U+0000'
  if (!filter.includes('#') && !filter.includes('+')) return undefined
  const levels = filter.split('/')
  for (const [i, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || i !== levels.length - 1))
      return '[MQTT-4.7.1-1] # must be the last level and alone in it'
    if (level.includes('+') && level !== '+') return '[MQTT-4.7.1-2] + must be alone in its level'
  }
  return undefined
}

const DOLLAR = 0x24

/**
 * Topics that the broker alone publishes to (§4.7.2), and names that are no topics of messages (§4.8.2). mosquitto's
 * bridges tell their state, with a will among others, under `$SYS/broker/connection/`.
 */
export function isReserved(topic: string): boolean {
  return topic.charCodeAt(0) === DOLLAR && /^\$(SYS|share)(\/(?!broker\/connection\/)|$)/.test(topic)
}

/** Counts separators only as far as needed. */
export function isTooDeep(topic: string, maxLevels: number): boolean {
  let levels = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) if (++levels > maxLevels) return true
  return false
}

/** `filter` well-formed, `topic` without wildcards. A wildcard in front does not match `$`-topics [MQTT-4.7.2-1]. */
export function matches(filter: string, topic: string): boolean {
  return filter === topic || covers(filter, topic)
}

/** Whether every topic that `inner` matches is matched by `outer`. `inner` may be a plain topic. */
export function covers(outer: string, inner: string): boolean {
  return coversLevels(outer.split('/'), inner.split('/'))
}

/** The same of filters that are split already, for whoever asks many times about the same. */
export function coversLevels(a: Levels, b: Levels): boolean {
  if (isWildcard(a[0]) && isOfServer(b[0])) return false
  for (let i = 0; ; i++) {
    if (a[i] === '#') return true // also the parent level itself (§4.7.1.2)
    if (i >= a.length || i >= b.length) return a.length === b.length
    if (b[i] === '#' || (a[i] !== '+' && a[i] !== b[i])) return false
  }
}

/** Whether some topic is matched by both. */
export function overlap(one: string, other: string): boolean {
  return overlapLevels(one.split('/'), other.split('/'))
}

export function overlapLevels(a: Levels, b: Levels): boolean {
  if ((isWildcard(a[0]) && isOfServer(b[0])) || (isWildcard(b[0]) && isOfServer(a[0]))) return false
  for (let i = 0; ; i++) {
    if (a[i] === '#' || b[i] === '#') return true
    if (i >= a.length || i >= b.length) return a.length === b.length
    if (a[i] !== '+' && b[i] !== '+' && a[i] !== b[i]) return false
  }
}

const isOfServer = (level: string | undefined): boolean => level?.startsWith('$') ?? false
const isWildcard = (level: string | undefined): boolean => level === '+' || level === '#'
