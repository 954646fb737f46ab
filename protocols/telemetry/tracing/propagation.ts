/** Trace contexts in headers: W3C Trace Context (traceparent, tracestate), and Zipkin's B3 in one header or in several. Pure. */
import type { Span, TracingProvider } from '../../../model/http/tracing.ts'

export type TraceContext = {
  readonly traceId: string
  /** The caller's span. */
  readonly spanId: string
  readonly parentId: string | undefined
  /** Undefined: the caller leaves it to others. */
  readonly isSampled: boolean | undefined
  readonly state: string | undefined
}
type Find = (name: string) => string | undefined

/** Longer ones are not passed on. */
const MAX_STATE_LENGTH = 512

/** @returns undefined where the request has none, or none that can be read */
export function readContext(find: Find, provider: TracingProvider): TraceContext | undefined {
  if (provider.kind === 'otlp') return extractW3c(find)
  return extractB3(find) ?? (provider.withW3c ? extractW3c(find) : undefined)
}

/** Trace Context §3.2: what has an unknown version is read as far as version 00 goes. */
function extractW3c(find: Find): TraceContext | undefined {
  const found = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(find('traceparent') ?? '')
  const [, version, traceId, spanId, flags, more] = found ?? []
  if (traceId === undefined || spanId === undefined || version === 'ff') return undefined
  if ((version === '00' && more !== undefined) || isZero(traceId) || isZero(spanId)) return undefined
  const state = find('tracestate')
  return {
    traceId,
    spanId,
    parentId: undefined,
    isSampled: (Number.parseInt(flags!, 16) & 1) === 1,
    state: state !== undefined && state.length <= MAX_STATE_LENGTH ? state : undefined,
  }
}

function extractB3(find: Find): TraceContext | undefined {
  const single = find('b3')
  const [traceId, spanId, sampled, parentId] =
    single === undefined
      ? [find('x-b3-traceid'), find('x-b3-spanid'), find('x-b3-sampled'), find('x-b3-parentspanid')]
      : single.split('-')
  if (!isId(traceId, 16, 32) || !isId(spanId, 16)) return undefined
  const isForced = single === undefined ? find('x-b3-flags') === '1' : sampled === 'd'
  return {
    traceId: traceId.toLowerCase(),
    spanId: spanId.toLowerCase(),
    parentId: isId(parentId, 16) ? parentId.toLowerCase() : undefined,
    isSampled: isForced ? true : SAMPLED[sampled ?? ''],
    state: undefined,
  }
}
const SAMPLED: Readonly<Record<string, boolean | undefined>> = { '1': true, true: true, '0': false, false: false }

function isId(text: string | undefined, ...lengths: readonly number[]): text is string {
  return text !== undefined && lengths.includes(text.length) && /^[0-9a-fA-F]+$/.test(text) && !isZero(text)
}
const isZero = (id: string): boolean => /^0+$/.test(id)

/** Names that are ours to say, in place of what the caller said. */
const NAMES = ['traceparent', 'tracestate', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled']

/** Changes the flat list: the next hop's parent is this span. B3 goes on in the form that it came in, as in Envoy. */
export function writeContext(headers: string[], span: Span, provider: TracingProvider): void {
  const isB3 = provider.kind === 'zipkin'
  const isW3c = provider.kind === 'otlp' || provider.withW3c
  const isSingle = isB3 && hasName(headers, 'b3')
  const sampled = span.isSampled ? '1' : '0'
  for (let i = headers.length - 2; i >= 0; i -= 2)
    if (NAMES.includes(headers[i]!) && (headers[i]!.startsWith('trace') ? isW3c : isB3)) headers.splice(i, 2)
  if (isSingle) {
    const parent = span.parentId === undefined ? '' : `-${span.parentId}`
    headers.push('b3', `${span.traceId}-${span.id}-${sampled}${parent}`)
  } else if (isB3) {
    headers.push('x-b3-traceid', span.traceId, 'x-b3-spanid', span.id, 'x-b3-sampled', sampled)
    if (span.parentId !== undefined) headers.push('x-b3-parentspanid', span.parentId)
  }
  if (isW3c) {
    headers.push('traceparent', `00-${span.traceId.padStart(32, '0')}-${span.id}-0${sampled}`)
    if (span.state !== undefined) headers.push('tracestate', span.state)
  }
}

function hasName(headers: readonly string[], name: string): boolean {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return true
  return false
}
