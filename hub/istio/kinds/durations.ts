/** Durations as Go reads them (time.ParseDuration) and as protobuf's JSON writes them. Exact to the nanosecond. */

const UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
}
const PART = /(\d+)(?:\.(\d{1,9})\d*)?(ns|us|\u00b5s|ms|s|m|h)/y
/** google.protobuf.Duration: ten thousand years. */
const MAX_NS = 315_576_000_000n * 1_000_000_000n

/** @returns nanoseconds; undefined for what is no duration */
function parseNs(text: string): bigint | undefined {
  if (text.length > 64) return undefined
  if (text === '0') return 0n
  let [at, sum] = [0, 0n]
  while (at < text.length) {
    PART.lastIndex = at
    const found = PART.exec(text)
    if (!found) return undefined
    const [all, whole, fraction = '', unit] = found
    const unitNs = UNITS[unit!]!
    sum += BigInt(whole!) * unitNs + (BigInt(fraction.padEnd(9, '0')) * unitNs) / 1_000_000_000n
    at += all.length
  }
  return text === '' || sum > MAX_NS ? undefined : sum
}

export function isDuration(text: string): boolean {
  return parseNs(text) !== undefined
}

/** At least a millisecond and whole ones, which an istiod asks of nearly every duration. */
export function isWholeMs(text: string): boolean {
  const ns = parseNs(text)
  return ns !== undefined && ns >= 1_000_000n && ns % 1_000_000n === 0n
}

/** 1m30s → 90s, 100ms → 0.1s. */
export function formatDuration(text: string): string {
  const ns = parseNs(text) ?? 0n
  const fraction = (ns % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '')
  return `${ns / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}s`
}

/** Whole seconds, the rest cut off. */
export function countSeconds(text: string): number {
  return Number((parseNs(text) ?? 0n) / 1_000_000_000n)
}
