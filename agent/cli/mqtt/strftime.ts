/** strftime(3) in the C locale, for the format strings of `meshlet mqtt sub -F`. */
import { DAYS, MONTHS } from '../../../model/time-text.ts'

const pad = (value: number, width = 2, fill = '0'): string => String(value).padStart(width, fill)
const hour12 = (d: Date): number => d.getHours() % 12 || 12
const DAY_MS = 86_400_000

function dayOfYear(d: Date): number {
  return Math.round((Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) - Date.UTC(d.getFullYear(), 0, 1)) / DAY_MS)
}
/** Week of the year when weeks begin with this day (0 = Sunday); days before the first are week 0. */
function week(d: Date, firstDay: 0 | 1): number {
  return Math.floor((dayOfYear(d) + 7 - ((d.getDay() + 7 - firstDay) % 7)) / 7)
}
/** ISO 8601: week 1 is the one with the year's first Thursday. */
function isoWeek(d: Date): { readonly year: number; readonly week: number } {
  const thursday = new Date(d.getFullYear(), d.getMonth(), d.getDate() + 4 - (d.getDay() || 7))
  return { year: thursday.getFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 }
}
function zone(d: Date): string {
  const east = -d.getTimezoneOffset()
  return `${east < 0 ? '-' : '+'}${pad(Math.floor(Math.abs(east) / 60))}${pad(Math.abs(east) % 60)}`
}
const zoneName = (d: Date): string =>
  new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' }).formatToParts(d).find((p) => p.type === 'timeZoneName')
    ?.value ?? ''

const FORMATS: Readonly<Record<string, (d: Date) => string>> = {
  a: (d) => DAYS[d.getDay()]!.slice(0, 3),
  A: (d) => DAYS[d.getDay()]!,
  b: (d) => MONTHS[d.getMonth()]!.slice(0, 3),
  h: (d) => MONTHS[d.getMonth()]!.slice(0, 3),
  B: (d) => MONTHS[d.getMonth()]!,
  c: (d) => many('a b e T Y', ' ', d),
  C: (d) => pad(Math.floor(d.getFullYear() / 100)),
  d: (d) => pad(d.getDate()),
  D: (d) => many('m d y', '/', d),
  e: (d) => pad(d.getDate(), 2, ' '),
  F: (d) => many('Y m d', '-', d),
  g: (d) => pad(isoWeek(d).year % 100),
  G: (d) => String(isoWeek(d).year),
  H: (d) => pad(d.getHours()),
  I: (d) => pad(hour12(d)),
  j: (d) => pad(dayOfYear(d) + 1, 3),
  k: (d) => pad(d.getHours(), 2, ' '),
  l: (d) => pad(hour12(d), 2, ' '),
  m: (d) => pad(d.getMonth() + 1),
  M: (d) => pad(d.getMinutes()),
  n: () => '\n',
  p: (d) => (d.getHours() < 12 ? 'AM' : 'PM'),
  P: (d) => (d.getHours() < 12 ? 'am' : 'pm'),
  r: (d) => `${many('I M S', ':', d)} ${formatTimeConversion('p', d)}`,
  R: (d) => many('H M', ':', d),
  s: (d) => String(Math.floor(d.getTime() / 1000)),
  S: (d) => pad(d.getSeconds()),
  t: () => '\t',
  T: (d) => many('H M S', ':', d),
  u: (d) => String(d.getDay() || 7),
  U: (d) => pad(week(d, 0)),
  V: (d) => pad(isoWeek(d).week),
  w: (d) => String(d.getDay()),
  W: (d) => pad(week(d, 1)),
  x: (d) => many('m d y', '/', d),
  X: (d) => many('H M S', ':', d),
  y: (d) => pad(d.getFullYear() % 100),
  Y: (d) => String(d.getFullYear()),
  z: zone,
  Z: zoneName,
}
const many = (letters: string, between: string, d: Date): string =>
  letters
    .split(' ')
    .map((letter) => formatTimeConversion(letter, d))
    .join(between)

/** One conversion, without its `%`; what is none is written as it is. */
export function formatTimeConversion(letter: string, at: Date): string {
  return FORMATS[letter]?.(at) ?? `%${letter}`
}
