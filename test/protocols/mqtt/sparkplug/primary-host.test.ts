import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PrimaryHost } from '../../../../protocols/mqtt/sparkplug/primary-host.ts'

const STATE = 'spBv1.0/STATE/scada'
const say = (host: PrimaryHost, text: string, topic = STATE): string =>
  `${host.hear(topic, Buffer.from(text))} → ${host.state}`
const state = (online: boolean, timestamp: unknown): string => JSON.stringify({ online, timestamp })

test('[tck-id-message-flow-edge-node-birth-publish-phid-wait-online, -timestamp] online, offline, what is older does not count, what is as old does', () => {
  const host = new PrimaryHost('scada', false)
  assert.equal(host.state, 'unknown')
  assert.equal(say(host, state(true, 1_000)), 'online → online')
  assert.equal(say(host, state(false, 999)), 'stale → online')
  // The will of this very session.
  assert.equal(say(host, state(false, 1_000)), 'offline → offline')
  assert.equal(say(host, state(true, 999)), 'stale → offline')
  assert.equal(say(host, state(true, 2_000)), 'online → online')
})

test('[tck-id-message-flow-edge-node-birth-publish-phid-wait-id] another host is another topic, letter by letter', () => {
  const host = new PrimaryHost('scada', false)
  for (const topic of ['spBv1.0/STATE/SCADA', 'spBv1.0/STATE/scada/x', 'STATE/scada', 'spBv1.0/STATE/'])
    assert.equal(host.hear(topic, Buffer.from(state(true, 1))), undefined, topic)
})

test('what is no STATE changes nothing', () => {
  const host = new PrimaryHost('scada', false)
  say(host, state(true, 5))
  for (const text of [
    '',
    'ONLINE',
    'null',
    '[]',
    '{"online":true}',
    '{"online":1,"timestamp":9}',
    '{"online":"false","timestamp":9}',
    '{"online":false,"timestamp":"9"}',
    '{"online":false,"timestamp":9.5}',
    '{"online":false,"timestamp":-9}',
    '{"online":false,"timestamp":1e300}',
    '{"online":false',
    `{"online":false,"timestamp":9,"more":"${'x'.repeat(5_000)}"}`,
  ])
    assert.equal(say(host, text), 'invalid → online', text)
  assert.equal(say(host, '{"online":false,"timestamp":9,"bdSeq":1}'), 'offline → offline')
})

test('each connection begins without knowing; the session of the host is known again by its timestamp', () => {
  const host = new PrimaryHost('scada', false)
  say(host, state(true, 1_000))
  assert.equal(host.isSameSession, false, 'it was never served before')
  host.settle()
  host.forget()
  assert.equal(host.state, 'unknown')
  assert.equal(say(host, state(true, 1_000)), 'online → online')
  assert.equal(host.isSameSession, true)
  host.forget()
  // A host whose clock was set back is believed on a new connection.
  assert.equal(say(host, state(true, 500)), 'online → online')
  assert.equal(host.isSameSession, false)
})

test('the form of Sparkplug 2.2 counts where it is wanted, and not beside the newer one', () => {
  const host = new PrimaryHost('scada', true)
  assert.deepEqual(host.topics, [STATE, 'STATE/scada'])
  assert.equal(say(host, 'ONLINE', 'STATE/scada'), 'online → online')
  assert.equal(host.isSameSession, false)
  host.settle()
  assert.equal(host.isSameSession, false, 'nobody knows whether it is the same')
  assert.equal(say(host, 'OFFLINE', 'STATE/scada'), 'offline → offline')
  assert.equal(say(host, 'online', 'STATE/scada'), 'invalid → offline')
  assert.equal(say(host, state(false, 1)), 'offline → offline')
  assert.equal(say(host, 'ONLINE', 'STATE/scada'), 'stale → offline')
})
