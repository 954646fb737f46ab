import { test } from 'node:test'
import assert from 'node:assert/strict'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import type { FinishedSpan } from '../../../../model/http/tracing.ts'
import { encodeRequest } from '../../../../protocols/telemetry/export/envelope.ts'
import { encodeOtlpSpan, encodeZipkinSpan } from '../../../../protocols/telemetry/tracing/encode.ts'
import { OTLP, ZIPKIN } from '../export/collectors.ts'

const span: FinishedSpan = {
  traceId: '463ac35c9f6413ad48485a3953bb6124',
  id: 'a2fb4a1d1a96d312',
  parentId: '0020000000000001',
  isSampled: true,
  isShared: false,
  state: 'a=b',
  name: 'caf\u00c3\u00a9',
  kind: 'server',
  startedMs: 1_767_323_045_006.5,
  durationMs: 12.25,
  isError: true,
  tags: [['k', 'v'.repeat(200)]],
  local: { host: '10.0.0.1', port: 80 },
}
const SENDER = { nodeId: 'n', cluster: 'c', serviceName: 'own' }
const encodeOtlpSpans = (...spans: FinishedSpan[]): Buffer => encodeRequest(OTLP, spans.map(encodeOtlpSpan), SENDER)
type Fields = [no: number, value: Uint8Array | bigint | number][]
function read(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes)
  const fields: Fields = []
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag()
    fields.push([
      no,
      type === WireType.LengthDelimited
        ? reader.bytes()
        : type === WireType.Bit64
          ? (reader.fixed64() as bigint)
          : reader.uint32(),
    ])
  }
  return fields
}
const within = (bytes: Uint8Array, ...path: number[]): Uint8Array =>
  path.reduce((at, no) => read(at).find(([n]) => n === no)![1] as Uint8Array, bytes)
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString('hex')

test('OTLP: a message of gRPC with the fields of opentelemetry.proto.trace.v1.Span', () => {
  const framed = encodeOtlpSpans(span, span)
  assert.deepEqual([framed[0], framed.readUInt32BE(1)], [0, framed.length - 5])
  const resourceSpans = within(framed.subarray(5), 1)
  assert.equal(text(within(resourceSpans, 1, 1, 1)), 'service.name')
  assert.equal(text(within(resourceSpans, 1, 1, 2, 1)), 'svc')
  const spans = read(within(resourceSpans, 2)).filter(([no]) => no === 2)
  assert.equal(spans.length, 2)
  const fields = new Map(read(spans[0]![1] as Uint8Array))
  assert.deepEqual([hex(fields.get(1)), hex(fields.get(2)), hex(fields.get(4))], [span.traceId, span.id, span.parentId])
  assert.deepEqual(
    [text(fields.get(3) as Uint8Array), text(fields.get(5) as Uint8Array), fields.get(6)],
    ['a=b', 'café', 2],
  )
  assert.deepEqual([fields.get(7), fields.get(8)], [1_767_323_045_006_500_000n, 1_767_323_045_018_750_000n])
  assert.equal(text(within(fields.get(9) as Uint8Array, 1)), 'k')
  assert.equal(text(within(fields.get(9) as Uint8Array, 2, 1)), 'v'.repeat(200))
  assert.deepEqual(read(fields.get(15) as Uint8Array), [[3, 2]])
})
test('OTLP: what is not there is left out, and a short trace id is filled up', () => {
  const plain = {
    ...span,
    parentId: undefined,
    state: undefined,
    isError: false,
    traceId: span.id,
    kind: 'client',
  } as const
  const fields = new Map(read(within(encodeOtlpSpans(plain).subarray(5), 1, 2, 2)))
  assert.deepEqual([fields.has(3), fields.has(4), fields.has(15), fields.get(6)], [false, false, false, 3])
  assert.equal(hex(fields.get(1)), '0'.repeat(16) + span.id)
})
test('Zipkin: JSON with microseconds', () => {
  const [made] = JSON.parse(encodeRequest(ZIPKIN, [encodeZipkinSpan(span, 'svc')], SENDER).toString()) as Record<
    string,
    unknown
  >[]
  assert.deepEqual(made, {
    traceId: span.traceId,
    id: span.id,
    parentId: span.parentId,
    name: 'café',
    kind: 'SERVER',
    timestamp: 1_767_323_045_006_500,
    duration: 12_250,
    localEndpoint: { serviceName: 'svc', ipv4: '10.0.0.1', port: 80 },
    tags: { k: 'v'.repeat(200) },
  })
})
