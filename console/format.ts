const MINUTE_MS = 60_000
const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', MINUTE_MS],
] as const
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'short' })
const whole = new Intl.NumberFormat('en')
const absolute = new Intl.DateTimeFormat('en-CA', { dateStyle: 'short', timeStyle: 'medium', hourCycle: 'h23' })

export const formatCount = (n: number): string => whole.format(n)
export const formatWhen = (ms: number): string => absolute.format(ms)

/** `in 3 hr.`, `5 min. ago`, `now` */
export function formatAgo(ms: number, nowMs: number): string {
  const [unit, unitMs] = UNITS.find(([, size]) => Math.abs(ms - nowMs) >= size) ?? []
  return unit === undefined ? 'now' : relative.format(Math.trunc((ms - nowMs) / unitMs), unit)
}

const SIZES = [
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
] as const
export function formatBytes(n: number): string {
  const [unit, size] = SIZES.find(([, least]) => n >= least) ?? ['B', 1]
  return `${new Intl.NumberFormat('en', { maximumFractionDigits: size === 1 ? 0 : 1 }).format(n / size)} ${unit}`
}

/** One, or several. */
export const plural = (n: number, one: string, several = `${one}s`): string =>
  `${formatCount(n)} ${n === 1 ? one : several}`
