import { test } from 'node:test'
import assert from 'node:assert/strict'
import { loadConfig } from '../../../../agent/config/load.ts'
import { toListenAddress } from '../../../../agent/config/schema/listeners.ts'

test('an MQTT listener has a port or a Unix socket, whose path and mode can be', () => {
  for (const bad of [
    '',
    'port: 1883, unix: {path: /run/s}',
    'unix: {path: run/s}',
    'unix: {path: /run/s, mode: "0999"}',
    `unix: {path: /${'x'.repeat(107)}}`,
  ]) {
    const loaded = loadConfig(
      `control: {address: "a:1", roots: /r}\nlisteners: [{name: a, kind: mqtt${bad === '' ? '' : `, ${bad}`}}]`,
    )
    assert.equal(loaded.ok, false, bad)
  }
})
test('the place of a Unix socket is its path', () => {
  assert.deepEqual(toListenAddress({ address: '127.0.0.1', unix: { path: '/run/s' } }), { address: '/run/s', port: 0 })
  assert.deepEqual(toListenAddress({ address: '127.0.0.1', port: 5 }), { address: '127.0.0.1', port: 5 })
})
