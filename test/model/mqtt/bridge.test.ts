import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'

const schema = createMqttPolicySchema()
/** Where the policy is refused; empty: it is taken. */
const refused = (...bridges: object[]): string[] => {
  const { success, error } = schema.safeParse({ bridges: bridges.map((b) => ({ cluster: 'c', ...b })) })
  return success ? [] : error.issues.map((i) => i.path.join('.'))
}

for (const [bridge, place] of [
  [{ start: 'never' }, 'start'],
  [{ notificationTopic: 'a/+' }, 'notificationTopic'],
  [{ failover: Array.from({ length: 9 }, () => 'x') }, 'failover'],
  [{ reconnectMinMs: 0 }, 'reconnectMinMs'],
  [{ keepAliveSec: 4 }, 'keepAliveSec'],
  [{ maxInflight: 60_001 }, 'maxInflight'],
  [{ maxHops: 0 }, 'maxHops'],
  [{ replay: { messagesPerSec: 0 } }, 'replay.messagesPerSec'],
  [{ websocket: { path: 'mqtt' } }, 'websocket.path'],
  [{ websocket: { path: '/a b' } }, 'websocket.path'],
  [{ websocket: { host: 'a/b' } }, 'websocket.host'],
  [{ websocket: { host: 'a\r\nX: y' } }, 'websocket.host'],
  [{ httpProxy: { host: 'proxy' } }, 'httpProxy.port'],
  [{ sendProxyProtocol: 3 }, 'sendProxyProtocol'],
  [{ psk: { identity: '', keyFile: '/k' } }, 'psk.identity'],
  [{ psk: { identity: 'i', keyFile: 'k' } }, 'psk.keyFile'],
  [{ httpProxy: { host: 'proxy', port: 1, credentialsFile: 'relative' } }, 'httpProxy.credentialsFile'],
] as const)
  test(`a bridge that cannot be: ${JSON.stringify(bridge).slice(0, 60)}`, () =>
    assert.deepEqual(refused(bridge), [`bridges.0.${place}`]))

test('a session is described once', () => {
  assert.deepEqual(refused({}, { clientId: 'x' }, { cluster: 'd' }), [])
  assert.deepEqual(refused({}, {}, { clientId: 'x' }, { clientId: 'x' }), ['bridges.1', 'bridges.3'])
})
