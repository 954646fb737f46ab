/** Local rate limits of a listener. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { good, issues, withHttpFilter } from '../listener/listener-rig.ts'

const BUCKET = { max_tokens: 4, tokens_per_fill: 2, fill_interval: '60s' }
const chain = (limit: JsonObject): JsonObject =>
  withHttpFilter('local_ratelimit.v3.LocalRateLimit', { stat_prefix: 's', token_bucket: BUCKET, ...limit })

test('left out, it counts nothing and refuses nothing, as in Envoy', () => {
  const { codec } = good({}, chain({})).value.filterChains[0]!
  const filter = codec.kind === 'http' ? codec.http.filters[0] : undefined
  assert.ok(filter?.kind === 'rate-limit')
  const { bucket, enabledFraction, enforcedFraction, status, alwaysDefault, maxDynamic } = filter.limit
  assert.deepEqual(
    { bucket, enabledFraction, enforcedFraction, status, alwaysDefault, maxDynamic },
    {
      bucket: { maxTokens: 4, tokensPerFill: 2, fillMs: 60_000 },
      enabledFraction: 0,
      enforcedFraction: 0,
      status: 429,
      alwaysDefault: true,
      maxDynamic: 20,
    },
  )
})

const entry = { key: 'a', value: 'b' }
for (const [limit, problem] of [
  [{ stat_prefix: '' }, /stat_prefix: is missing/],
  [{ token_bucket: { fill_interval: '1s' } }, /max_tokens: must be 1 or more/],
  [{ token_bucket: { max_tokens: 1 } }, /fill_interval: must be 50 ms or more/],
  [{ token_bucket: { ...BUCKET, fill_interval: '0.0005s' } }, /fill_interval: must be 50 ms or more/],
  [{ token_bucket: { ...BUCKET, fill_interval: '-1s' } }, /fill_interval: a duration may not be negative/],
  [{ token_bucket: { ...BUCKET, tokens_per_fill: 0 } }, /tokens_per_fill: must be 1 or more/],
  [{ descriptors: [{ entries: [entry] }] }, /descriptors\[0\]\.token_bucket: is missing/],
  [{ descriptors: [{ entries: [], token_bucket: BUCKET }] }, /entries: is empty/],
  [{ descriptors: Array(2).fill({ entries: [entry], token_bucket: BUCKET }) }, /descriptors\[1\]: is there already/],
  [{ max_dynamic_descriptors: 0xffff_ffff }, /max_dynamic_descriptors: must be 1 to 10000/],
  [{ request_headers_to_add_when_not_enforced: [{ header: { key: 'x', value: '%REQ(y)%' } }] }, /not supported here/],
] as readonly (readonly [JsonObject, RegExp])[])
  test(`the filter refuses: ${JSON.stringify(limit).slice(0, 80)}`, () =>
    assert.match(String(issues({}, chain(limit))), problem))
