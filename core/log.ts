import pino, { type Logger } from 'pino'
import type { Clock } from './os/clock.ts'
import { LogLimiter } from './log-limiter.ts'
import type { LogOutput } from './log-output.ts'

/**
 * A log line is an event: `evt` is dotted and stable, the message a short constant, values are fields with units, the
 * error is `err`.
 */
export type Log = Logger

const SECRET_FIELDS = ['authorization', 'password', 'token', 'key', 'keyPem']

/** What did not come through: left out by the limiter, dropped for want of a reader. */
export type LogCounts = { readonly leftOut: number; readonly dropped: number }
const counts = new WeakMap<object, () => LogCounts>()
export function logCounts(log: Log): LogCounts {
  return counts.get(log)?.() ?? { leftOut: 0, dropped: 0 }
}

/**
 * For a program that goes on for years: bounded in lines (log-limiter.ts) and in what a reader has not taken
 * (log-output.ts).
 */
export function createBoundedLog(
  level: string,
  output: LogOutput | undefined,
  clock: Clock,
): Log & { flushLimits(): void } {
  const limiter = new LogLimiter({
    clock,
    tell: ({ evt, code, ...fields }) => {
      log.warn({ evt: 'log.left-out', of: evt, code, ...fields }, 'more lines of this kind were left out')
    },
  })
  const log = Object.assign(createLog(level, output, limiter), { flushLimits: () => limiter.flush() })
  counts.set(log, () => ({ leftOut: limiter.leftOut, dropped: output?.dropped ?? 0 }))
  return log
}

/**
 * Writes JSON lines to stdout. Levels: error = a request or the agent failed; warn = recovered or refused; info =
 * start, stop, swap, connection end; debug = decisions.
 */
export function createLog(level: string, destination?: pino.DestinationStream, limiter?: LogLimiter): Log {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: errorFields },
    ...(limiter && { hooks: { logMethod: limited(limiter) } }),
    redact: { paths: SECRET_FIELDS.flatMap((k) => [k, `*.${k}`]), censor: '[redacted]' },
  }
  return destination ? pino(options, destination) : pino(options)
}

export const silentLog: Log = pino({ level: 'silent' })

const INFO = 30
/** Longer than what anybody writes for people: a topic or a client id that a client made up. */
const MAX_TEXT_CHARS = 512
const MAX_MESSAGE_CHARS = 2_048
function limited(limiter: LogLimiter): NonNullable<NonNullable<pino.LoggerOptions['hooks']>['logMethod']> {
  return function write(args, method, level) {
    // pino's type has only the call with a text; ours begin with an object.
    const [fields] = args as unknown as [unknown]
    if (level >= INFO && typeof fields === 'object' && fields !== null) {
      const verdict = limiter.decide(level, { ...this.bindings(), ...fields })
      if (verdict === 'leave out') return
      ;(args as unknown as [object])[0] = shortened(typeof verdict === 'object' ? { ...fields, ...verdict } : fields)
    }
    method.apply(this, args)
  }
}

function shortened(fields: object): object {
  let changed: Record<string, unknown> | undefined
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'string' && value.length > MAX_TEXT_CHARS)
      (changed ??= { ...fields })[name] = cut(value, MAX_TEXT_CHARS)
  }
  return changed ?? fields
}
function cut(text: string, chars: number): string {
  return text.length > chars ? `${text.slice(0, chars)}…` : text
}

function errorFields(err: unknown): unknown {
  if (!(err instanceof Error)) return err
  const { code, cause } = err as Error & { code?: unknown }
  return {
    message: cut(err.message, MAX_MESSAGE_CHARS),
    ...(code === undefined ? {} : { code }),
    ...(cause === undefined
      ? {}
      : { cause: cut(cause instanceof Error ? cause.message : JSON.stringify(cause), MAX_MESSAGE_CHARS) }),
    ...(code === 'MESH_INTERNAL' || code === undefined ? { stack: err.stack } : {}),
  }
}
