/**
 * When a rollout stops by itself, in words: `rejected>0, lost>2%, errors>2x`. Each part is a gate; the first that opens
 * halts.
 */
import { MeshError } from '../../core/errors.ts'

export type Gate = {
  readonly what: 'rejected' | 'lost' | 'errors'
  readonly or: '>' | '>='
  readonly value: number
  /** `times`: of what was before, and of what the other devices have meanwhile. */
  readonly unit: 'devices' | 'percent' | 'times'
}
/** What is known of the devices of a wave. */
export type Evidence = {
  /** That count: connected when their wave began, or come within its soak. */
  readonly devices: number
  readonly rejected: readonly string[]
  readonly lost: readonly string[]
  readonly traffic: Traffic
  /** Of the same devices until their wave began. */
  readonly before: Traffic
  /** Of all others since the wave began. */
  readonly rest: Traffic
}
export type Traffic = { readonly requests: number; readonly failures: number }

export const DEFAULT_HALT = 'rejected>0, lost>2%, errors>2x'
export const NO_GATES = 'never'
const UNITS = {
  rejected: ['devices', 'percent'],
  lost: ['devices', 'percent'],
  errors: ['times', 'percent'],
} as const satisfies Record<Gate['what'], readonly Gate['unit'][]>
const SIGNS: Readonly<Record<string, Gate['unit']>> = { '': 'devices', '%': 'percent', x: 'times' }
/** A few failures of a handful of requests say nothing. */
const MIN_FAILURES = 5
/** Twice nothing is nothing: less than this is taken for this. */
const MIN_RATIO = 0.01
const MAX_CHARS = 200
const MAX_NAMES_TOLD = 5

/** Throws MESH_CONFIG_INVALID, naming the character where it is wrong. */
export function parseHalt(text: string): readonly Gate[] {
  if (text.length > MAX_CHARS) throw wrong(text.slice(0, MAX_CHARS), MAX_CHARS, `more than ${MAX_CHARS} characters`)
  if (text.trim() === NO_GATES) return []
  let at = 0
  return text.split(',').map((part) => {
    const gate = parseGate(text, part, at)
    at += part.length + 1
    return gate
  })
}

function parseGate(text: string, part: string, from: number): Gate {
  const place = (inPart: number): number => from + inPart + 1
  const start = part.length - part.trimStart().length
  const name = /^[a-z]*/i.exec(part.slice(start))![0]
  if (!Object.hasOwn(UNITS, name))
    throw wrong(text, place(start), `expected rejected, lost or errors${name === '' ? '' : `, not ${name}`}`)
  const what = name as Gate['what']
  let at = start + name.length
  at += part.slice(at).length - part.slice(at).trimStart().length
  const or = /^>=?/.exec(part.slice(at))?.[0]
  if (or === undefined) throw wrong(text, place(at), `expected > or >= after ${what}`)
  at += or.length
  at += part.slice(at).length - part.slice(at).trimStart().length
  const [whole, digits = '', sign = ''] = /^(\d{1,9}(?:\.\d{1,3})?)(%|x?)/.exec(part.slice(at)) ?? ['']
  if (whole === '') throw wrong(text, place(at), 'expected a number')
  const rest = part.slice(at + whole.length).trim()
  if (rest !== '')
    throw wrong(text, place(part.indexOf(rest, at + whole.length)), `expected a comma, not ${JSON.stringify(rest)}`)
  const unit = SIGNS[sign]!
  const value = Number(digits)
  const units: readonly Gate['unit'][] = UNITS[what]
  if (!units.includes(unit))
    throw wrong(text, place(at), `${what} is compared with ${what === 'errors' ? '2x or 5%' : '3 or 2%'}`)
  if (unit === 'percent' && value > 100) throw wrong(text, place(at), 'more than 100 % cannot be')
  if (unit === 'times' && value < 1) throw wrong(text, place(at), 'less than 1x would halt when nothing changes')
  return { what, or: or as Gate['or'], value, unit }
}

function wrong(text: string, place: number, problem: string): MeshError {
  return new MeshError(
    'MESH_CONFIG_INVALID',
    `halt ${JSON.stringify(text)}, character ${place}: ${problem}; for example '${DEFAULT_HALT}', or ${NO_GATES}`,
  )
}

export const formatGate = ({ what, or, value, unit }: Gate): string =>
  `${what}${or}${value}${Object.entries(SIGNS).find(([, u]) => u === unit)![0]}`

/** @returns why it is to stop; undefined: it is not */
export function findOpenGate(gates: readonly Gate[], evidence: Evidence): string | undefined {
  for (const gate of gates) {
    const found = gate.what === 'errors' ? compareErrors(gate, evidence) : compareDevices(gate, evidence)
    if (found !== undefined) return `${formatGate(gate)}: ${found}`
  }
  return undefined
}

const exceeds = ({ or, value }: Gate, found: number): boolean => (or === '>' ? found > value : found >= value)

/** What stands against the gate's value, in its unit. */
export function measureGate(gate: Gate, { traffic, before, rest, ...evidence }: Evidence): number {
  if (gate.what !== 'errors') {
    const found = evidence[gate.what].length
    return gate.unit === 'percent' ? (100 * found) / Math.max(1, evidence.devices) : found
  }
  if (gate.unit === 'percent') return 100 * ratio(traffic)
  return ratio(traffic) / Math.max(ratio(before), ratio(rest), MIN_RATIO)
}

function compareDevices(gate: Gate, evidence: Evidence): string | undefined {
  const names = evidence[gate.what as 'rejected' | 'lost']
  if (names.length === 0 || !exceeds(gate, measureGate(gate, evidence))) return undefined
  const told = names.slice(0, MAX_NAMES_TOLD).join(', ')
  return `${names.length} of ${evidence.devices} device(s), ${told}${names.length > MAX_NAMES_TOLD ? ' …' : ''}`
}

function compareErrors(gate: Gate, evidence: Evidence): string | undefined {
  const { traffic, before, rest } = evidence
  if (traffic.failures < MIN_FAILURES || !exceeds(gate, measureGate(gate, evidence))) return undefined
  const told = `${traffic.failures} of ${traffic.requests} requests failed`
  if (gate.unit === 'percent') return told
  return `${told}, ${percent(ratio(before))} before and ${percent(ratio(rest))} at the other devices`
}

const ratio = ({ requests, failures }: Traffic): number => (requests > 0 ? Math.min(1, failures / requests) : 0)
const percent = (share: number): string => `${Number((100 * share).toFixed(1))} %`
