import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Span, TracingProvider } from '../../../../model/http/tracing.ts'
import { readContext, writeContext } from '../../../../protocols/telemetry/tracing/propagation.ts'
import { OTLP as OTLP_COLLECTOR, ZIPKIN as ZIPKIN_COLLECTOR } from '../export/collectors.ts'

const T = '463ac35c9f6413ad48485a3953bb6124'
const S = 'a2fb4a1d1a96d312'
const P = '0020000000000001'
const OTLP: TracingProvider = { kind: 'otlp', to: OTLP_COLLECTOR }
const ZIPKIN = {
  kind: 'zipkin',
  to: ZIPKIN_COLLECTOR,
  isLong: true,
  isShared: true,
  withW3c: false,
} as const
const BOTH: TracingProvider = { ...ZIPKIN, withW3c: true }
const context = (more: object = {}): object => ({
  traceId: T,
  spanId: S,
  parentId: undefined,
  isSampled: true,
  state: undefined,
  ...more,
})

for (const [name, provider, headers, want] of [
  ['traceparent', OTLP, { traceparent: `00-${T}-${S}-01` }, context()],
  ['not sampled', OTLP, { traceparent: `00-${T}-${S}-00` }, context({ isSampled: false })],
  ['other flags', OTLP, { traceparent: `00-${T}-${S}-fe` }, context({ isSampled: false })],
  ['a later version', OTLP, { traceparent: `cc-${T}-${S}-01-more` }, context()],
  ['state', OTLP, { traceparent: `00-${T}-${S}-01`, tracestate: 'a=b' }, context({ state: 'a=b' })],
  ['too much state', OTLP, { traceparent: `00-${T}-${S}-01`, tracestate: 'a'.repeat(513) }, context()],
  ['more than version 00 has', OTLP, { traceparent: `00-${T}-${S}-01-more` }, undefined],
  ['version ff', OTLP, { traceparent: `ff-${T}-${S}-01` }, undefined],
  ['no trace', OTLP, { traceparent: `00-${'0'.repeat(32)}-${S}-01` }, undefined],
  ['no span', OTLP, { traceparent: `00-${T}-${'0'.repeat(16)}-01` }, undefined],
  ['upper case', OTLP, { traceparent: `00-${T.toUpperCase()}-${S}-01` }, undefined],
  ['B3 for OpenTelemetry', OTLP, { 'x-b3-traceid': T, 'x-b3-spanid': S }, undefined],
  [
    'B3',
    ZIPKIN,
    { 'x-b3-traceid': T, 'x-b3-spanid': S, 'x-b3-sampled': '1', 'x-b3-parentspanid': P },
    context({ parentId: P }),
  ],
  [
    'B3 without a decision',
    ZIPKIN,
    { 'x-b3-traceid': S, 'x-b3-spanid': S },
    context({ traceId: S, isSampled: undefined }),
  ],
  ['B3 for debugging', ZIPKIN, { 'x-b3-traceid': T, 'x-b3-spanid': S, 'x-b3-flags': '1' }, context()],
  ['B3 without a span', ZIPKIN, { 'x-b3-traceid': T }, undefined],
  ['B3 of another length', ZIPKIN, { 'x-b3-traceid': `${T}0`, 'x-b3-spanid': S }, undefined],
  ['b3', ZIPKIN, { b3: `${T}-${S}-0-${P}` }, context({ isSampled: false, parentId: P })],
  ['b3 for debugging', ZIPKIN, { b3: `${T}-${S}-d` }, context()],
  ['b3 without ids', ZIPKIN, { b3: '0' }, undefined],
  ['traceparent for Zipkin', ZIPKIN, { traceparent: `00-${T}-${S}-01` }, undefined],
  ['traceparent for Zipkin with W3C', BOTH, { traceparent: `00-${T}-${S}-01` }, context()],
] as const satisfies readonly (readonly [string, TracingProvider, Record<string, string>, object | undefined])[])
  test(`extracted: ${name}`, () => {
    assert.deepEqual(
      readContext((header) => (headers as Record<string, string>)[header], provider),
      want,
    )
  })

const span: Span = { traceId: T, id: S, parentId: P, isSampled: true, isShared: false, state: undefined }
for (const [name, provider, before, more, want] of [
  ['traceparent', OTLP, ['a', 'b'], {}, ['a', 'b', 'traceparent', `00-${T}-${S}-01`]],
  ['not sampled', OTLP, [], { isSampled: false }, ['traceparent', `00-${T}-${S}-00`]],
  ['a short trace', OTLP, [], { traceId: S }, ['traceparent', `00-${'0'.repeat(16)}${S}-${S}-01`]],
  [
    'state, in place of what the caller said',
    OTLP,
    ['traceparent', 'x', 'tracestate', 'y', 'traceparent', 'z', 'x-b3-traceid', 'k'],
    { state: 'a=b' },
    ['x-b3-traceid', 'k', 'traceparent', `00-${T}-${S}-01`, 'tracestate', 'a=b'],
  ],
  [
    'B3',
    ZIPKIN,
    ['x-b3-traceid', 'x', 'traceparent', 'k'],
    {},
    ['traceparent', 'k', 'x-b3-traceid', T, 'x-b3-spanid', S, 'x-b3-sampled', '1', 'x-b3-parentspanid', P],
  ],
  ['b3', ZIPKIN, ['b3', 'x'], { parentId: undefined }, ['b3', `${T}-${S}-1`]],
  [
    'both',
    BOTH,
    [],
    { parentId: undefined, isSampled: false },
    ['x-b3-traceid', T, 'x-b3-spanid', S, 'x-b3-sampled', '0', 'traceparent', `00-${T}-${S}-00`],
  ],
] as const)
  test(`injected: ${name}`, () => {
    const headers: string[] = [...before]
    writeContext(headers, { ...span, ...more }, provider)
    assert.deepEqual(headers, want)
  })
