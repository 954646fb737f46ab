/** Which node names a join token is good for: one name, or all that match a pattern with `*` in it. */

/** One path segment, whatever the file system: the name is the folder of the node's resources. */
const NODE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/
const PATTERN = /^[A-Za-z0-9._*-]{1,253}$/

export function isNodeName(text: string): boolean {
  return NODE_NAME.test(text)
}

export function isNodePattern(text: string): boolean {
  return isExact(text) ? isNodeName(text) : PATTERN.test(text)
}

/** The token's bearer is that node by the operator's word, whoever was it before. */
export function isExact(pattern: string): boolean {
  return !pattern.includes('*')
}

/**
 * `*` stands for any characters, none included. Linear in both lengths for one star, and patterns are the operator's
 * own.
 */
export function matchesNode(pattern: string, name: string): boolean {
  const [first, ...rest] = pattern.split('*') as [string, ...string[]]
  const last = rest.pop()
  if (last === undefined) return name === first
  if (!name.startsWith(first)) return false
  let at = first.length
  for (const part of rest) {
    const found = name.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return name.length - last.length >= at && name.endsWith(last)
}
