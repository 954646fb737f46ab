/**
 * How many log lines are written. Whoever can open a connection can cause a line, and flash wears out: lines about
 * clients are bounded by kind and by client, and the rest of ten seconds is one line with a count. Failures of our own
 * that go on are told with growing pauses. Lines at debug and below were asked for.
 */
import type { Clock, Timer } from './os/clock.ts'
import { deriveSource } from './ip-source.ts'

export type LogLimits = {
  readonly windowMs: number
  /** Lines of one kind about one client or one thing, and of one kind in all, in a window. */
  readonly perSubject: number
  readonly perKind: number
  /** A failure of our own is told so often, then after a pause that doubles from `windowMs` to this. */
  readonly ownFailures: number
  readonly maxPauseMs: number
  /** Subjects and kinds that are remembered. */
  readonly maxKeys: number
}
export const LOG_LIMITS: LogLimits = {
  windowMs: 10_000,
  perSubject: 10,
  perKind: 50,
  ownFailures: 3,
  maxPauseMs: 600_000,
  maxKeys: 1_024,
}

/** What became of a line: written as it is, written with how often it was left out before, or left out. */
export type Verdict = 'write' | 'leave out' | { readonly repeated: number }
/** Of one kind: what was left out in a window. */
export type Summary = {
  readonly evt: string
  readonly code: string | undefined
  readonly lines: number
  readonly forMs: number
}

type Count = { windowStartMs: number; lines: number }
type Kind = Count & { readonly evt: string; readonly code: string | undefined; leftOut: number }
type Failure = { told: number; leftOut: number; pauseMs: number; nextMs: number; lastMs: number }
type Fields = Readonly<Record<string, unknown>>

const WARN = 40
const MAX_KEY_CHARS = 256
const FATAL = 60
/** One line each because somebody wanted it. */
const UNLIMITED = new Set(['log.left-out'])
/** The peer that caused a line. */
const CLIENT_FIELDS = ['peer', 'ip', 'clientId', 'node', 'conn'] as const
/** What a line is about; a thousand refused resources are a thousand things. */
const SUBJECT_FIELDS = [
  'listener',
  'cluster',
  'kind',
  'name',
  'host',
  'address',
  'server',
  'file',
  'part',
  'what',
  'queue',
  'filter',
  'problem',
] as const

export class LogLimiter {
  readonly #clock: Clock
  readonly #limits: LogLimits
  readonly #tell: (summary: Summary) => void
  readonly #kinds = new Map<string, Kind>()
  readonly #subjects = new Map<string, Count>()
  readonly #failures = new Map<string, Failure>()
  #timer: Timer | undefined
  /** Lines that were left out since the start. */
  leftOut = 0

  /** @param tell writes one line for what was left out of a kind */
  constructor(p: { clock: Clock; tell: (summary: Summary) => void; limits?: LogLimits }) {
    this.#clock = p.clock
    this.#tell = p.tell
    this.#limits = p.limits ?? LOG_LIMITS
  }

  decide(level: number, fields: Fields): Verdict {
    const evt = textOf(fields['evt'])
    if (level >= FATAL || UNLIMITED.has(evt)) return 'write'
    const code = textOf(fields['code']) || codeOf(fields['err'])
    const kind = `${evt} ${code}`
    const client = clientOf(fields)
    const nowMs = this.#clock.monotonicMs()
    if (client === undefined && level >= WARN && (code !== '' || fields['err'] !== undefined))
      return this.#decideFailure(`${kind} ${subjectOf(fields)}`, nowMs)
    const ofKind = remembered(this.#kinds, kind, this.#limits.maxKeys, () => ({
      windowStartMs: nowMs,
      lines: 0,
      evt,
      code: code === '' ? undefined : code,
      leftOut: 0,
    }))
    const ofSubject = remembered(
      this.#subjects,
      `${kind} ${client ?? subjectOf(fields)}`,
      this.#limits.maxKeys,
      () => ({ windowStartMs: nowMs, lines: 0 }),
    )
    this.#turn(ofKind, nowMs)
    this.#turn(ofSubject, nowMs)
    if (ofSubject.lines < this.#limits.perSubject && ofKind.lines < this.#limits.perKind) {
      ofSubject.lines++
      ofKind.lines++
      return 'write'
    }
    ofKind.leftOut++
    this.leftOut++
    this.#timer ??= this.#clock.after(this.#limits.windowMs, () => this.flush())
    return 'leave out'
  }

  /** Writes what was left out; also at the end. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const kind of this.#kinds.values()) {
      if (kind.leftOut === 0) continue
      const { evt, code, leftOut: lines } = kind
      kind.leftOut = 0
      this.#tell({ evt, code, lines, forMs: this.#limits.windowMs })
    }
  }

  #turn(count: Count, nowMs: number): void {
    if (nowMs - count.windowStartMs < this.#limits.windowMs) return
    count.windowStartMs = nowMs
    count.lines = 0
  }

  /** The pause is over for good when nothing has failed for twice as long as it lasts. */
  #decideFailure(key: string, nowMs: number): Verdict {
    const { windowMs, maxPauseMs, ownFailures, maxKeys } = this.#limits
    const known = remembered(this.#failures, key, maxKeys, () => ({
      told: 0,
      leftOut: 0,
      pauseMs: windowMs,
      nextMs: 0,
      lastMs: nowMs,
    }))
    if (nowMs - known.lastMs >= 2 * known.pauseMs) Object.assign(known, { told: 0, pauseMs: windowMs, nextMs: 0 })
    known.lastMs = nowMs
    if (nowMs < known.nextMs) {
      known.leftOut++
      this.leftOut++
      return 'leave out'
    }
    known.told++
    if (known.told >= ownFailures) {
      if (known.told > ownFailures) known.pauseMs = Math.min(known.pauseMs * 2, maxPauseMs)
      known.nextMs = nowMs + known.pauseMs
    }
    const repeated = known.leftOut
    known.leftOut = 0
    return repeated === 0 ? 'write' : { repeated }
  }
}

/** Adds a missing kind; with too many kinds the oldest one makes room. */
function remembered<T>(map: Map<string, T>, name: string, max: number, make: () => T): T {
  const key = name.slice(0, MAX_KEY_CHARS)
  const known = map.get(key)
  if (known) return known
  const [oldest] = map.size >= max ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
  const made = make()
  map.set(key, made)
  return made
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
function codeOf(err: unknown): string {
  return typeof err === 'object' && err !== null && 'code' in err ? textOf(err.code) : ''
}

/**
 * An address without its port, which is another one each time; of IPv6 the part that a site has, within which addresses
 * cost nothing.
 */
function clientOf(fields: Fields): string | undefined {
  for (const name of CLIENT_FIELDS) {
    const text = textOf(fields[name])
    // A bridge has a client id, too, and is no client.
    if (text === '' || (name === 'clientId' && textOf(fields['cluster']) !== '')) continue
    if (name === 'ip') return deriveSource(text)
    return name === 'peer' ? deriveSource(hostOf(text)) : text
  }
  return undefined
}

/** `10.0.0.1:4711`, `[2001:db8::1]:4711`, `2001:db8::1:4711` or an address without a port. */
function hostOf(peer: string): string {
  const [, bracketed] = /^\[(.*)\](?::\d+)?$/.exec(peer) ?? []
  return bracketed ?? peer.replace(/:\d+$/, '')
}

function subjectOf(fields: Fields): string {
  return SUBJECT_FIELDS.map((name) => textOf(fields[name])).join(' ')
}
