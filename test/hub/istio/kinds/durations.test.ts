import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { countSeconds, formatDuration, isDuration, isWholeMs } from '../../../../hub/istio/kinds/durations.ts'

await suite('Durations as Go writes them', async () => {
  const cases = [
    ['10s', '10s'],
    ['1m30s', '90s'],
    ['100ms', '0.1s'],
    ['1.5h', '5400s'],
    ['1h0m1.25s', '3601.25s'],
    ['5us', '0.000005s'],
    ['0', '0s'],
    ['0s', '0s'],
  ] as const
  for (const [text, expected] of cases)
    await test(text, () => {
      assert.ok(isDuration(text))
      assert.equal(formatDuration(text), expected)
    })
  for (const text of ['', '10', 's', '1 s', '-1s', '1d', '1s ', '1e3s', '9'.repeat(40) + 's'])
    await test(`${JSON.stringify(text)} is none`, () => assert.ok(!isDuration(text)))

  await test('an istiod takes whole milliseconds only', () => {
    assert.deepEqual(['1ms', '0.5s', '0s', '1.5ms', '100us'].map(isWholeMs), [true, true, false, false, false])
  })
  await test('whole seconds', () => assert.equal(countSeconds('1m1.9s'), 61))
})
