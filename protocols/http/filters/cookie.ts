import type { HeaderValues } from '../../../model/matcher.ts'

/** RFC 6265 §4.2.1: `name=value` pairs; a value may stand in quotes. @param lines of `cookie` */
export function findCookie(lines: HeaderValues, name: string): string | undefined {
  return listCookies(lines, name)[0]
}

/** All of that name, for whoever reads them may take any. */
export function listCookies(lines: HeaderValues, name: string): readonly string[] {
  if (lines === undefined) return []
  const values: string[] = []
  for (const pair of (typeof lines === 'string' ? [lines] : lines).flatMap((line) => line.split(';'))) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals).trim() === name)
      values.push(
        pair
          .slice(equals + 1)
          .trim()
          .replace(/^"(.*)"$/, '$1'),
      )
  }
  return values
}
