/** One line per request (envoy access logs): JSON with Istio's field names, or text in Envoy's default format. */
import type { Log } from '../../../core/log.ts'

export type AccessRecord = {
  /** Wall milliseconds. */
  readonly startedMs: number
  readonly method: string
  readonly path: string
  readonly protocol: string
  /** 0 = no answer was given. */
  readonly status: number
  /** Envoy response flags, e.g. "UH"; '-' = none. */
  readonly flags: string
  /** Code of the refusal or failure; undefined = a normal end. */
  readonly errorCode: string | undefined
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly durationMs: number
  /** From the request on its way to the head of the answer; undefined when no endpoint answered. */
  readonly upstreamServiceMs: number | undefined
  readonly forwardedFor: string | undefined
  readonly userAgent: string | undefined
  readonly requestId: string | undefined
  readonly authority: string
  /** "address:port"; undefined when none was chosen. */
  readonly upstreamHost: string | undefined
  readonly upstreamCluster: string | undefined
  readonly downstreamLocal: string
  readonly downstreamRemote: string
  readonly serverName: string
  readonly routeName: string | undefined
  /** SPIFFE URI of the client. */
  readonly peer: string | undefined
  readonly tries: number
}

export function logAccess(log: Log, format: 'json' | 'text', record: AccessRecord): void {
  if (format === 'text') log.info({ evt: 'http.access' }, formatAccess(record))
  else log.info({ evt: 'http.access', ...record }, 'request')
}

/**
 * Envoy's default format string. Header values stand in quotes; quotes, backslashes and non-ASCII in them are escaped.
 */
export function formatAccess(r: AccessRecord): string {
  return (
    `[${new Date(r.startedMs).toISOString()}] "${quoted(r.method)} ${quoted(r.path)} ${r.protocol}" ${r.status} ${r.flags} ${r.receivedBytes} ${r.sentBytes} ` +
    `${Math.round(r.durationMs)} ${r.upstreamServiceMs === undefined ? '-' : Math.round(r.upstreamServiceMs)} "${quoted(r.forwardedFor)}" "${quoted(r.userAgent)}" ` +
    `"${quoted(r.requestId)}" "${quoted(r.authority)}" "${r.upstreamHost ?? '-'}"`
  )
}

function quoted(text: string | undefined): string {
  if (text === undefined || text === '') return '-'
  return text.replace(/[^\x20-\x7e]|["\\]/g, (c) =>
    c === '"' || c === '\\' ? `\\${c}` : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
