import pino, { type Logger } from 'pino'

/** A log line is an event: `evt` is dotted and stable, the message a short constant, values are fields with units, the error is `err`. */
export type Log = Logger

const SECRET_FIELDS = ['authorization', 'password', 'token', 'key', 'keyPem']

/** Writes JSON lines to stdout. Levels: error = a request or the agent failed; warn = recovered or refused; info = start, stop, swap, connection end; debug = decisions. */
export function createLog(level: string, destination?: pino.DestinationStream): Log {
  const options: pino.LoggerOptions = {
    level, base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: errorFields },
    redact: { paths: SECRET_FIELDS.flatMap((k) => [k, `*.${k}`]), censor: '[redacted]' },
  }
  return destination ? pino(options, destination) : pino(options)
}

export const silentLog: Log = pino({ level: 'silent' })

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
