import pino, { type Logger } from 'pino'
import type { Clock } from './clock.ts'
import { LogLimiter } from './log-limiter.ts'
import type { LogOutput } from './log-output.ts'

/** A log line is an event: `evt` is dotted and stable, the message a short constant, values are fields with units, the error is `err`. */
export type Log = Logger

const SECRET_FIELDS = ['authorization', 'password', 'token', 'key', 'keyPem']

/** What did not come through: left out by the limiter, dropped for want of a reader. */
export type LogCounts = { readonly leftOut: number; readonly dropped: number }
const counts = new WeakMap<object, () => LogCounts>()
export function logCounts(log: Log): LogCounts { return counts.get(log)?.() ?? { leftOut: 0, dropped: 0 } }

/** For a program that goes on for years: bounded in lines (log-limiter.ts) and in what a reader has not taken (log-output.ts). */
export function createBoundedLog(level: string, output: LogOutput | undefined, clock: Clock): Log & { flushLimits(): void } {
  const limiter = new LogLimiter({
    clock,
    tell: ({ evt, code, ...fields }) => { log.warn({ evt: 'log.left-out', of: evt, code, ...fields }, 'more lines of this kind were left out') },
  })
  const log = Object.assign(createLog(level, output, limiter), { flushLimits: () => limiter.flush() })
  counts.set(log, () => ({ leftOut: limiter.leftOut, dropped: output?.dropped ?? 0 }))
  return log
}

/** Writes JSON lines to stdout. Levels: error = a request or the agent failed; warn = recovered or refused; info = start, stop, swap, connection end; debug = decisions. */
export function createLog(level: string, destination?: pino.DestinationStream, limiter?: LogLimiter): Log {
  const options: pino.LoggerOptions = {
    level, base: null,
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
function limited(limiter: LogLimiter): NonNullable<NonNullable<pino.LoggerOptions['hooks']>['logMethod']> {
  return function write(args, method, level) {
    const [fields] = args as unknown as [unknown]
    const verdict = level >= INFO && typeof fields === 'object' && fields !== null ? limiter.judge(level, fields as Record<string, unknown>) : 'write'
    if (verdict === 'leave out') return
    if (typeof verdict === 'object') (args as unknown as [object])[0] = { ...fields as object, ...verdict }
    method.apply(this, args)
  }
}

function errorFields(err: unknown): unknown {
  if (!(err instanceof Error)) return err
  const { code, cause } = err as Error & { code?: unknown }
  return {
    message: err.message,
    ...(code === undefined ? {} : { code }),
    ...(cause === undefined ? {} : { cause: cause instanceof Error ? cause.message : JSON.stringify(cause) }),
    ...(code === 'MESH_INTERNAL' || code === undefined ? { stack: err.stack } : {}),
  }
}
