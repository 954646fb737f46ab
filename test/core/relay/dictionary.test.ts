import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DICTIONARY_PROTOCOL } from '../../../core/relay/compression.ts'

// It stands on the wire: with another, devices and hubs of different versions talk without one.
test('the dictionary is the one that devices and hubs in the field have', () => {
  assert.equal(DICTIONARY_PROTOCOL, 'meshlet.1.2c5608c5')
})
