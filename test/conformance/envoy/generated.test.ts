/** `npm run test:envoy` in short, with the same requests each time. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { comparePairs } from './generated/pairs.ts'

for (const codec of ['http1', 'http2'] as const)
  test(`5,000 requests by chance over ${codec}: the same answers, the same requests to the endpoint`, async () => {
    const { pairs, difference } = await comparePairs(codec, 1, 5_000)
    assert.equal(difference, undefined)
    assert.equal(pairs, 5_000)
  })
