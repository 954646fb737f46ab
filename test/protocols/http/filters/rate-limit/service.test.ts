/** What a rate limit service is asked, and what its answer means. Beside Envoy: test/conformance/envoy/filters. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MessageWriter, frameGrpc } from '../../../../../protocols/protobuf/message.ts'
import {
  makeLimitQuestion,
  readLimitAnswer,
  tellRetryAfter,
  tellStatuses,
} from '../../../../../protocols/http/filters/rate-limit/service.ts'

const SERVICE = { kind: 'grpc', cluster: 'l', authority: 'l.test', timeoutMs: 20, headers: ['x-a', 'b'] } as const
const answer = (fill: (to: MessageWriter) => void): Buffer => {
  const made = new MessageWriter()
  fill(made)
  return frameGrpc(made.finish())
}

test('domain and descriptors are asked', () => {
  const { head, bytes } = makeLimitQuestion(SERVICE, 'd', [{ entries: [['k', 'v']] }])
  assert.deepEqual(
    [head.method, head.path, head.authority, head.bodyLength, head.headers],
    [
      'POST',
      '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
      'l.test',
      bytes.length,
      ['x-a', 'b', 'content-type', 'application/grpc'],
    ],
  )
  assert.equal(bytes.subarray(5).toString('latin1'), '\n\x01d\x12\x08\n\x06\n\x01k\x12\x01v')
})

for (const [what, bytes, status] of [
  ['no message', Buffer.alloc(0), '0'],
  ['bytes that are none', Buffer.from([0, 0, 0, 0, 1, 255]), '0'],
  ['a compressed one', Buffer.from([1, 0, 0, 0, 0]), '0'],
  ['two of them', Buffer.concat([frameGrpc(Buffer.alloc(0)), frameGrpc(Buffer.alloc(0))]), '0'],
  ['UNKNOWN', answer((to) => to.integer(1, 0)), '0'],
  ['a code that nobody knows', answer((to) => to.integer(1, 9)), '0'],
  ['a status that is not OK', answer((to) => to.integer(1, 1)), '14'],
  ['no status', answer((to) => to.integer(1, 1)), undefined],
] as const)
  test(`an answer with ${what} is none`, () => {
    assert.equal(readLimitAnswer(bytes, status).kind, 'error')
  })

test('statuses without a limit say nothing; of the others the least is told', () => {
  const limit = (perUnit: number, unit: number): MessageWriter =>
    new MessageWriter().integer(1, perUnit).integer(2, unit)
  const read = readLimitAnswer(
    answer((to) =>
      to
        .integer(1, 2)
        .message(2, new MessageWriter().integer(1, 1))
        .message(2, new MessageWriter().message(2, limit(10, 2)).integer(3, 5))
        .message(2, new MessageWriter().message(2, limit(3, 99)).integer(3, 1)),
    ),
    '0',
  )
  assert.ok(read.kind === 'over')
  assert.deepEqual(
    tellStatuses(read.statuses, { ofEach: [], others: true }).map(({ value }) => value),
    ['3, 10;w=60', '1', '0'],
  )
  assert.deepEqual(tellStatuses([], { ofEach: [true], others: true }), [])
})

test('what else a descriptor says is asked, too', () => {
  const { bytes } = makeLimitQuestion(SERVICE, '', [
    { entries: [], limit: { perUnit: 7, unit: 3 }, hits: 0, givesBack: true },
  ])
  assert.deepEqual([...bytes.subarray(5)], [18, 10, 18, 4, 8, 7, 16, 3, 26, 0, 32, 1])
})

for (const [ofEach, others, told] of [
  [[undefined, true, undefined], false, ['3, 3;w=60']],
  [[undefined, false, undefined], true, []],
  [[undefined, undefined, false], true, ['3, 3;w=60']],
  [[undefined, undefined, true], false, []],
] as const)
  test(`what is left is told as each rule says: ${ofEach.join()} ${others}`, () => {
    const status = (limit: number) => ({ name: '', limit, windowSec: 60, remaining: limit, resetSec: 0 })
    assert.deepEqual(
      tellStatuses([undefined, status(3), status(10)], { ofEach, others })
        .filter(({ name }) => name === 'x-ratelimit-limit')
        .map(({ value }) => value.replace(', 10;w=60', '')),
      told,
    )
  })

for (const [status, seconds, told] of [
  [429, 17, '17'],
  [429, 0, '1'],
  [429, undefined, undefined],
  [503, 17, undefined],
] as const)
  test(`retry-after of a refusal with ${status} for ${seconds} seconds: ${told}`, () => {
    assert.equal(tellRetryAfter({ tellsRetryAfter: true, status }, seconds)[0]?.add[0]?.value, told)
    assert.deepEqual(tellRetryAfter({ status }, seconds), [])
  })
