import { test } from 'node:test'
import assert from 'node:assert/strict'
import { decideFault } from '../../../../protocols/http/filters/fault.ts'
import type { Fault } from '../../../../model/route.ts'
import type { RequestFacts } from '../../../../protocols/router.ts'
import { seededRandom } from '../../../helpers/random.ts'

const request: RequestFacts = {
  method: 'GET',
  path: '/',
  authority: 'a',
  scheme: 'http',
  header: (name) => ({ 'x-user': 'ann', 'x-envoy-fault-abort-request': '503' })[name],
}
const fault = (over: Partial<Fault>): Fault => ({ delay: undefined, abort: undefined, headers: [], ...over })
const ABORT = { status: 503, grpcStatus: 14, fraction: 1 }

test('without a fault, or without one that applies, nothing is injected; x-envoy-fault-* headers inject nothing', () => {
  assert.equal(decideFault(undefined, request, seededRandom(1)), undefined)
  assert.equal(decideFault(fault({}), request, seededRandom(1)), undefined)
})
test('delay and abort together', () => {
  assert.deepEqual(decideFault(fault({ delay: { ms: 50, fraction: 1 }, abort: ABORT }), request, seededRandom(1)), {
    delayMs: 50,
    abort: { status: 503, grpcStatus: 14 },
  })
})
test('only requests whose headers match', () => {
  const only = (value: string): Fault =>
    fault({
      abort: ABORT,
      headers: [
        {
          name: 'x-user',
          test: { kind: 'string', match: { kind: 'exact', value, ignoreCase: false } },
          invert: false,
          missingAsEmpty: false,
        },
      ],
    })
  assert.equal(decideFault(only('bob'), request, seededRandom(1)), undefined)
  assert.ok(decideFault(only('ann'), request, seededRandom(1))?.abort)
})
test('fractions are shares of the requests; 0 spares all', () => {
  const random = seededRandom(5)
  let hit = 0
  for (let i = 0; i < 10_000; i++)
    if (decideFault(fault({ abort: { ...ABORT, fraction: 0.1 } }), request, random)) hit++
  assert.ok(Math.abs(hit - 1000) < 150, String(hit))
  assert.equal(decideFault(fault({ delay: { ms: 1, fraction: 0 } }), request, { float: () => 0 }), undefined)
})
