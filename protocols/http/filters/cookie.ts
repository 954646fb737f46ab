/** RFC 6265 §4.2.1: `name=value` pairs; a value may stand in quotes. */
export function findCookie(cookies: string | undefined, name: string): string | undefined {
  for (const pair of cookies?.split(/[;,]/) ?? []) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals).trim() === name)
      return pair
        .slice(equals + 1)
        .trim()
        .replace(/^"(.*)"$/, '$1')
  }
  return undefined
}
