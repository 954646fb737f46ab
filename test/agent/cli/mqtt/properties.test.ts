import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseProperties } from '../../../../agent/cli/mqtt/properties.ts'

test('each property goes to its stage, with its type', () => {
  const words =
    'publish content-type text/plain PUBLISH user-property a 1 publish user-property a 2 publish correlation-data xy ' +
    'connect receive-maximum 7 connect request-problem-information 1 will will-delay-interval 3 subscribe user-property k v'
  const { publish, connect, will, subscribe, disconnect } = parseProperties(words.split(' '))
  assert.deepEqual(publish, {
    contentType: 'text/plain',
    userProperties: { a: ['1', '2'] },
    correlationData: Buffer.from('xy'),
  })
  assert.deepEqual(connect, { receiveMaximum: 7, requestProblemInformation: true })
  assert.deepEqual(will, { willDelayInterval: 3 })
  assert.deepEqual(subscribe, { userProperties: { k: ['v'] } })
  assert.deepEqual(disconnect, {})
})

for (const [words, why] of [
  ['publish', /the identifier is missing/],
  ['publish content-type', /the value is missing/],
  ['publish user-property a', /the value is missing/],
  ['publish colour red', /there is no property "colour"/],
  ['connect content-type x', /content-type is none of "connect"/],
  ['connect receive-maximum 65536', /0 to 65535/],
  ['connect receive-maximum -1', /0 to 65535/],
  ['publish payload-format-indicator 2', /0 to 1/],
] as const)
  test(`-D ${words} is wrong usage`, () => {
    assert.throws(() => parseProperties(words.split(' ')), why)
  })
