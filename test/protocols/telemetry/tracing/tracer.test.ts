/** Whether a request is traced, and what its span says; Envoy's own answers: conformance/envoy/tracing. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Tracing } from '../../../../model/http/tracing.ts'
import { startSpan, finishSpan } from '../../../../protocols/telemetry/tracing/tracer.ts'
import { OTLP } from '../export/collectors.ts'
import { factsOf } from '../../../model/access-log-facts.ts'

const tracing = (more: Partial<Tracing> = {}): Tracing => ({
  clientSampling: 1,
  randomSampling: 1,
  overallSampling: 1,
  maxPathLength: 256,
  tags: [],
  provider: { kind: 'otlp', to: OTLP },
  ...more,
})
/** 5,000 of 10,000. */
const id = (reason: string): string => `00001388-0000-${reason}000-8000-000000000000`

for (const [name, settings, fields, want] of [
  ['all', {}, { 'x-request-id': id('4') }, ['9', true]],
  ['a share above the id', { randomSampling: 0.5001 }, { 'x-request-id': id('4') }, ['9', true]],
  ['a share below the id', { randomSampling: 0.5 }, { 'x-request-id': id('4') }, ['4', false]],
  ['sampled before', { randomSampling: 0 }, { 'x-request-id': id('9') }, ['9', true]],
  ['forced', { randomSampling: 0 }, { 'x-request-id': id('4'), 'x-envoy-force-trace': '1' }, ['a', true]],
  ['a client asks', { randomSampling: 0 }, { 'x-request-id': id('4'), 'x-client-trace-id': 'x' }, ['b', true]],
  [
    'a client asks, and may not',
    { randomSampling: 0, clientSampling: 0 },
    { 'x-request-id': id('4'), 'x-client-trace-id': 'x' },
    ['4', false],
  ],
  ['overall none', { overallSampling: 0.5 }, { 'x-request-id': id('9') }, ['4', false]],
  ['no id: by chance', { randomSampling: 0.5 }, {}, [undefined, true]],
  ['no UUID: by chance', { randomSampling: 0.1 }, { 'x-request-id': 'abc' }, [undefined, false]],
] as const satisfies readonly (readonly [string, Partial<Tracing>, Record<string, string>, unknown])[])
  test(`traced: ${name}`, () => {
    let said: string | undefined = (fields as Record<string, string>)['x-request-id']
    const span = startSpan(
      {
        find: (header) => (fields as Record<string, string>)[header],
        setRequestId: (next) => (said = next),
        isInbound: true,
      },
      tracing(settings),
      { float: () => 0.3 },
    )
    assert.deepEqual([said?.length === 36 ? said[14] : undefined, span.isSampled], want)
  })

test('ids are drawn, and never zero', () => {
  const span = startSpan({ find: () => undefined, setRequestId: assert.fail, isInbound: true }, tracing(), {
    float: () => 0,
  })
  assert.match(span.traceId, /^(?=.*1)[0-9a-f]{32}$/)
  assert.match(span.id, /^(?=.*1)[0-9a-f]{16}$/)
})
test('a span says what the log says, with the tags that are asked for', () => {
  const facts = factsOf({
    fields: {
      ':authority': 'a.test',
      ':path': '/abc?d',
      ':method': 'GET',
      'x-e': 'v'.repeat(2_000),
      'x-client-trace-id': 'c',
    },
    status: 503,
    flags: ['UF'],
    cluster: 'origin',
    grpcStatus: 14,
    times: { DS_TX_END: 12.5 },
  })
  const settings = tracing({
    maxPathLength: 4,
    tags: [
      { kind: 'literal', tag: 'l', value: 'x' },
      { kind: 'header', tag: 'e', name: 'x-e', byDefault: '' },
      { kind: 'header', tag: 'd', name: 'x-d', byDefault: 'default' },
      { kind: 'header', tag: 'none', name: 'x-d', byDefault: '' },
    ],
  })
  const span = { traceId: 't', id: 's', parentId: undefined, isSampled: true, isShared: false, state: undefined }
  const made = finishSpan(span, {
    tracing: settings,
    facts,
    isInbound: false,
    scheme: 'https',
    name: undefined,
    nodeId: 'n',
  })
  assert.deepEqual([made.name, made.kind, made.isError, made.durationMs], ['a.test', 'client', true, 12.5])
  const tags = Object.fromEntries(made.tags)
  assert.deepEqual(
    [tags['http.url'], tags['error'], tags['response_flags'], tags['grpc.status_code'], tags['upstream_cluster']],
    ['https://a.test/abc', 'true', 'UF', '14', 'origin'],
  )
  assert.deepEqual([tags['l'], tags['e']?.length, tags['d'], tags['none']], ['x', 1_024, 'default', undefined])
  assert.equal(tags['guid:x-client-trace-id'], 'c')
})
