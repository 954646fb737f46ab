/**
 * Times as %START_TIME(format)% has them: strftime in UTC, with `%s` for whole seconds since the epoch and `%f` or
 * `%1f` to `%9f` for what is behind them, and `%E3S` for both, as in Envoy. Pure.
 */
export const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
export const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]
const two = (n: number): string => String(n).padStart(2, '0')

const FIELDS: Readonly<Record<string, (at: Date) => string>> = {
  Y: (d) => String(d.getUTCFullYear()),
  m: (d) => two(d.getUTCMonth() + 1),
  d: (d) => two(d.getUTCDate()),
  e: (d) => String(d.getUTCDate()).padStart(2),
  y: (d) => two(d.getUTCFullYear() % 100),
  H: (d) => two(d.getUTCHours()),
  I: (d) => two(d.getUTCHours() % 12 || 12),
  M: (d) => two(d.getUTCMinutes()),
  S: (d) => two(d.getUTCSeconds()),
  p: (d) => (d.getUTCHours() < 12 ? 'AM' : 'PM'),
  F: (d) => d.toISOString().slice(0, 10),
  T: (d) => d.toISOString().slice(11, 19),
  s: (d) => String(Math.floor(d.getTime() / 1000)),
  z: () => '+0000',
  Z: () => 'UTC',
  a: (d) => DAYS[d.getUTCDay()]!.slice(0, 3),
  A: (d) => DAYS[d.getUTCDay()]!,
  b: (d) => MONTHS[d.getUTCMonth()]!.slice(0, 3),
  h: (d) => MONTHS[d.getUTCMonth()]!.slice(0, 3),
  B: (d) => MONTHS[d.getUTCMonth()]!,
  '%': () => '%',
}

/** @returns undefined for a format that has a field which is not known here */
export function compileTimeText(format: string): ((wallMs: number) => string) | undefined {
  const parts: (string | ((at: Date) => string))[] = []
  let end = 0
  for (const field of format.matchAll(/%(?:([1-9])?f|E([1-9])S|(\*?.)|$)/gs)) {
    parts.push(format.slice(end, field.index))
    end = field.index + field[0].length
    const [whole, digits, secondDigits, letter = ''] = field
    const made =
      secondDigits === undefined
        ? whole.endsWith('f') && letter === ''
          ? fraction(Number(digits ?? 9))
          : FIELDS[letter]
        : seconds(Number(secondDigits))
    if (!made) return undefined
    parts.push(made)
  }
  parts.push(format.slice(end))
  return (wallMs) => {
    const at = new Date(wallMs)
    return parts.map((part) => (typeof part === 'string' ? part : part(at))).join('')
  }
}

function fraction(digits: number): (at: Date) => string {
  return (at) => String(at.getUTCMilliseconds()).padStart(3, '0').padEnd(9, '0').slice(0, digits)
}

/** Abseil's `%E3S`: seconds with so many digits behind them. */
function seconds(digits: number): (at: Date) => string {
  const behind = fraction(digits)
  return (at) => `${two(at.getUTCSeconds())}.${behind(at)}`
}
