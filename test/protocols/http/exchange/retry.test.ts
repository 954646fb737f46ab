import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  decideRetry,
  retryBackoffMs,
  suspectResponse,
  type RetryRequest,
  type TryOutcome,
} from '../../../../protocols/http/exchange/retry.ts'
import type { RetryOn, RetryPolicy } from '../../../../model/route.ts'
import type { ErrorCode } from '../../../../core/errors.ts'

const policy = (on: readonly RetryOn[], over: Partial<RetryPolicy> = {}): RetryPolicy => ({
  on: new Set(on),
  maxRetries: 2,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 25, capMs: 250 },
  avoidPreviousHosts: true,
  maxHostPicks: 5,
  ...over,
})
const get: RetryRequest = { method: 'GET', hasIdempotencyKey: false, replayable: true }
const post: RetryRequest = { ...get, method: 'POST' }
const response = (status: number, grpcStatus?: number): TryOutcome => ({ kind: 'response', status, grpcStatus })
const failed = (code: ErrorCode, sent: 'nothing' | 'part' | 'all' = 'all', reused = false): TryOutcome => ({
  kind: 'failed',
  code,
  sent,
  reused,
})
const FIRST = { retries: 0, freshRetries: 0 }
const NOT_CONFIGURED = { stop: 'not-configured' }

const RESET = failed('MESH_UPSTREAM_RESET')
const UNSENT_RESET = failed('MESH_UPSTREAM_RESET', 'nothing')
const CONNECT = failed('MESH_CONNECT_FAILED', 'nothing')
const TIMEOUT = failed('MESH_UPSTREAM_TIMEOUT')
const REFUSED = failed('MESH_UPSTREAM_REFUSED_STREAM')
const OUTCOMES = {
  s500: response(500),
  s502: response(502),
  s503: response(503),
  s504: response(504),
  s409: response(409),
  s418: response(418),
  RESET,
  UNSENT_RESET,
  CONNECT,
  TIMEOUT,
  REFUSED,
}

/**
 * Which of OUTCOMES each word of retry_on asks for (Envoy, router filter, x-envoy-retry-on and x-envoy-retry-grpc-on).
 */
for (const [on, asked] of [
  ['5xx', ['s500', 's502', 's503', 's504', 'RESET', 'UNSENT_RESET', 'CONNECT', 'TIMEOUT', 'REFUSED']],
  ['gateway-error', ['s502', 's503', 's504', 'RESET', 'UNSENT_RESET', 'CONNECT', 'TIMEOUT', 'REFUSED']],
  ['reset', ['RESET', 'UNSENT_RESET', 'CONNECT', 'TIMEOUT', 'REFUSED']],
  ['reset-before-request', ['UNSENT_RESET', 'CONNECT']],
  ['connect-failure', ['CONNECT']],
  ['refused-stream', ['REFUSED']],
  ['retriable-4xx', ['s409']],
  ['retriable-status-codes', ['s418']],
  ['envoy-ratelimited', []],
  ['retriable-headers', []],
] as const) {
  test(`retry_on ${on} asks for ${asked.join(', ') || 'none of these'}`, () => {
    const p = policy([on], { statusCodes: new Set([418]) })
    const got = Object.entries(OUTCOMES)
      .filter(([, outcome]) => decideRetry(p, outcome, get, FIRST) === 'retry')
      .map(([name]) => name)
    assert.deepEqual(got.sort(), [...asked].sort())
  })
}
for (const [on, grpcStatus] of [
  ['cancelled', 1],
  ['deadline-exceeded', 4],
  ['resource-exhausted', 8],
  ['internal', 13],
  ['unavailable', 14],
] as const) {
  test(`retry_on ${on} asks for grpc-status ${grpcStatus} alone`, () => {
    for (let s = 0; s <= 16; s++)
      assert.equal(decideRetry(policy([on]), response(200, s), get, FIRST) === 'retry', s === grpcStatus, String(s))
  })
}
test('a rate limited response is tried again only for envoy-ratelimited', () => {
  const limited: TryOutcome = { kind: 'response', status: 503, grpcStatus: undefined, rateLimited: true }
  assert.deepEqual(decideRetry(policy(['5xx']), limited, get, FIRST), NOT_CONFIGURED)
  assert.equal(decideRetry(policy(['envoy-ratelimited']), limited, get, FIRST), 'retry')
})
for (const code of [
  'MESH_NO_ENDPOINT',
  'MESH_UPSTREAM_OVERFLOW',
  'MESH_CLIENT_GONE',
  'MESH_NO_IDENTITY',
  'MESH_INTERNAL',
] as const) {
  test(`${code} is never tried again`, () =>
    assert.deepEqual(
      decideRetry(policy(['5xx', 'reset', 'connect-failure']), failed(code, 'nothing'), get, FIRST),
      NOT_CONFIGURED,
    ))
}

const EVERYTHING = policy(['5xx', 'reset', 'connect-failure', 'refused-stream', 'reset-before-request'])
for (const { name, outcome, request, want } of [
  { name: 'a POST that was sent whole', outcome: RESET, request: post, want: { stop: 'not-safe' } },
  {
    name: 'a POST that was sent in part',
    outcome: failed('MESH_UPSTREAM_RESET', 'part'),
    request: post,
    want: { stop: 'not-safe' },
  },
  { name: 'a POST that was answered', outcome: response(503), request: post, want: { stop: 'not-safe' } },
  { name: 'a POST whose try timed out', outcome: TIMEOUT, request: post, want: { stop: 'not-safe' } },
  { name: 'a PATCH that was sent', outcome: RESET, request: { ...post, method: 'PATCH' }, want: { stop: 'not-safe' } },
  {
    name: 'an unknown method that was sent',
    outcome: RESET,
    request: { ...post, method: 'get' },
    want: { stop: 'not-safe' },
  },
  { name: 'a POST with idempotency-key', outcome: RESET, request: { ...post, hasIdempotencyKey: true }, want: 'retry' },
  { name: 'a POST of which nothing was sent', outcome: UNSENT_RESET, request: post, want: 'retry' },
  { name: 'a POST on a connection that never stood', outcome: CONNECT, request: post, want: 'retry' },
  { name: 'a POST on a refused stream (RFC 9113 §8.7)', outcome: REFUSED, request: post, want: 'retry' },
  { name: 'a PUT that was sent (RFC 9110 §9.2.2)', outcome: RESET, request: { ...post, method: 'PUT' }, want: 'retry' },
  { name: 'a DELETE that was sent', outcome: RESET, request: { ...post, method: 'DELETE' }, want: 'retry' },
  {
    name: 'a GET whose body is gone',
    outcome: RESET,
    request: { ...get, replayable: false },
    want: { stop: 'not-replayable' },
  },
  {
    name: 'a refused stream whose body is gone',
    outcome: REFUSED,
    request: { ...post, replayable: false },
    want: { stop: 'not-replayable' },
  },
])
  test(`what may have arrived is not repeated unless declared safe: ${name}`, () =>
    assert.deepEqual(decideRetry(EVERYTHING, outcome, request, FIRST), want))

test('no more than maxRetries', () => {
  assert.equal(decideRetry(EVERYTHING, CONNECT, get, { retries: 1, freshRetries: 0 }), 'retry')
  assert.deepEqual(decideRetry(EVERYTHING, CONNECT, get, { retries: 2, freshRetries: 0 }), { stop: 'limit' })
  assert.deepEqual(decideRetry(policy(['5xx'], { maxRetries: 0 }), CONNECT, get, FIRST), NOT_CONFIGURED)
})

for (const { name, outcome, request, state, want } of [
  {
    name: 'nothing sent',
    outcome: failed('MESH_UPSTREAM_RESET', 'nothing', true),
    request: post,
    state: FIRST,
    want: 'retry-fresh',
  },
  {
    name: 'sent, idempotent',
    outcome: failed('MESH_UPSTREAM_RESET', 'all', true),
    request: get,
    state: FIRST,
    want: 'retry-fresh',
  },
  {
    name: 'sent, not idempotent',
    outcome: failed('MESH_UPSTREAM_RESET', 'all', true),
    request: post,
    state: FIRST,
    want: NOT_CONFIGURED,
  },
  {
    name: 'a fresh connection',
    outcome: failed('MESH_UPSTREAM_RESET', 'nothing', false),
    request: get,
    state: FIRST,
    want: NOT_CONFIGURED,
  },
  {
    name: 'the second time',
    outcome: failed('MESH_UPSTREAM_RESET', 'nothing', true),
    request: get,
    state: { retries: 0, freshRetries: 1 },
    want: NOT_CONFIGURED,
  },
  {
    name: 'the body is gone',
    outcome: failed('MESH_UPSTREAM_RESET', 'all', true),
    request: { ...get, replayable: false },
    state: FIRST,
    want: NOT_CONFIGURED,
  },
  {
    name: 'a timeout',
    outcome: failed('MESH_UPSTREAM_TIMEOUT', 'all', true),
    request: get,
    state: FIRST,
    want: NOT_CONFIGURED,
  },
])
  test(`without a policy, a stale pooled connection gets one fresh try: ${name}`, () =>
    assert.deepEqual(decideRetry(undefined, outcome, request, state), want))

test('back-off is full jitter up to base · 2^n, at most the cap', () => {
  const top = { float: () => 0.999999 }
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((n) => Math.round(retryBackoffMs(EVERYTHING, n, top))),
    [25, 50, 100, 200, 250],
  )
  assert.equal(retryBackoffMs(EVERYTHING, 3, { float: () => 0 }), 0)
})

const UNAVAILABLE = response(200, 14)
for (const { name, outcome, request, want } of [
  { name: 'trailers-only UNAVAILABLE of a POST', outcome: UNAVAILABLE, request: post, want: 'retry' },
  {
    name: 'the same, where the server asks not to be tried again',
    outcome: { ...UNAVAILABLE, isPushedBack: true } as TryOutcome,
    request: post,
    want: { stop: 'not-safe' },
  },
  { name: 'another trailers-only status', outcome: response(200, 13), request: post, want: { stop: 'not-safe' } },
  { name: 'a 503 of a POST', outcome: response(503), request: post, want: { stop: 'not-safe' } },
  {
    name: 'a 503 of a POST where the operator permits it (retry-unsafe)',
    outcome: response(503),
    request: { ...post, mayRepeat: true },
    want: 'retry',
  },
  {
    name: 'a reset of a POST where the operator permits it',
    outcome: RESET,
    request: { ...post, mayRepeat: true },
    want: 'retry',
  },
  {
    name: 'a body that is not there any more, whatever is permitted',
    outcome: RESET,
    request: { ...post, mayRepeat: true, replayable: false },
    want: { stop: 'not-replayable' },
  },
])
  test(`of what may have begun: ${name}`, () =>
    assert.deepEqual(decideRetry(policy(['5xx', 'unavailable', 'internal']), outcome, request, FIRST), want))

for (const [pushback, want] of [
  [undefined, false],
  ['100', false],
  ['-1', true],
  ['soon', true],
] as const)
  test(`grpc-retry-pushback-ms ${pushback}`, () => {
    const headers = ['grpc-status', '14', ...(pushback === undefined ? [] : ['grpc-retry-pushback-ms', pushback])]
    const outcome = suspectResponse(policy(['unavailable']), { status: 200, headers, contentLength: 0 }, true)
    assert.equal(outcome?.kind === 'response' && outcome.isPushedBack, want)
  })
