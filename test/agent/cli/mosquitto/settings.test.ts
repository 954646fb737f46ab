import { test } from 'node:test'
import assert from 'node:assert/strict'
import { imported } from './conf.ts'

for (const [line, expected] of [
  ['max_inflight_messages 20', { maxInflight: 20 }],
  ['max_inflight_messages 0', { maxInflight: 65_535 }],
  ['max_keepalive 600', { maxKeepAliveSec: 600 }],
  ['max_packet_size 2000', { maxPacketBytes: 2000 }],
  ['max_packet_size 0', { maxPacketBytes: 268_435_460 }],
  ['message_size_limit 1000', { maxPacketBytes: 66_536 }],
  ['max_queued_messages 1000', { maxQueuedMessages: 1000 }],
  ['max_queued_bytes 5000', { maxQueuedBytes: 5000 }],
  ['global_max_connections 100', { maxConnections: 100 }],
  ['persistent_client_expiration 2w', { maxSessionExpirySec: 1_209_600 }],
] as const)
  test(line, () => {
    const { yaml, left } = imported(line)
    assert.deepEqual([yaml.mqtt.limits, left], [{ maxSessionExpirySec: 0xffff_ffff, ...expected }, []])
  })

test('users, permissions, prefixes, $SYS and memory', () => {
  const { yaml } = imported(
    'password_file /p\nacl_file /a\nclientid_prefixes plant-\nsys_interval 0\nmemory_limit 100000000\nlistener 1883\n',
  )
  assert.deepEqual([yaml.mqtt.users, yaml.mqtt.aclFile, yaml.mqtt.sysIntervalSec], [{ passwordFile: '/p' }, '/a', 0])
  assert.deepEqual((yaml.listeners[0]!['mqtt'] as { clientIdPrefixes: string[] }).clientIdPrefixes, ['plant-'])
  assert.deepEqual(yaml.limits, { maxQueuedMemoryBytes: 100_000_000 })
})

test('no bound is told as what bounds it here; a path that is not absolute is told', () => {
  const { same, left } = imported('max_queued_messages 0\npassword_file passwords\n')
  assert.match(same.join('\n'), /^1 max_queued_messages: 0 is no bound in mosquitto; here mqtt\.spool/m)
  assert.deepEqual(left, ['2 password_file: must be an absolute path: /passwords was written'])
})

test('what mosquitto would refuse is refused with its line', () => {
  for (const text of ['allow_anonymous maybe', 'max_keepalive x', 'include_dir /nowhere/at/all\nsys_interval soon'])
    assert.throws(() => imported(text), /m\.conf:\d+: \w+ must be/)
})

test('what an acl file denies a client of 3.1.1 is acknowledged, as by mosquitto; without one nothing is said of it', () => {
  const of = (text: string): unknown =>
    (imported(text).config as { mqtt: Record<string, unknown> }).mqtt['deniedPublishes']
  assert.deepEqual(
    [
      of('allow_anonymous true\nacl_file /a\nlistener 1883\n'),
      of('per_listener_settings true\nlistener 1883\nallow_anonymous true\nacl_file /a\n'),
      of('allow_anonymous true\nlistener 1883\n'),
    ],
    ['acknowledge', 'acknowledge', undefined],
  )
})

for (const [option, expected, same] of [
  ['upgrade_outgoing_qos true', { upgradeOutgoingQos: true }, []],
  ['upgrade_outgoing_qos false', {}, ['1 upgrade_outgoing_qos: it is so here']],
  ['log_dest topic', { logTopics: true }, []],
  ['max_inflight_bytes 5000', { limits: { maxInflightBytes: 5000 } }, []],
  ['max_inflight_bytes 0', {}, ['1 max_inflight_bytes: it is no bound']],
  ['max_inflight_bytes -1', {}, ['1 max_inflight_bytes: it is no bound']],
] as const)
  test(option, () => {
    const plain = imported('').yaml.mqtt
    const { yaml, left, ...rest } = imported(`${option}\n`)
    const limits = { ...plain.limits, ...('limits' in expected ? expected.limits : {}) }
    assert.deepEqual([yaml.mqtt, left, rest.same], [{ ...plain, ...expected, limits }, [], same])
  })

test('QoS 0 that waits', () => {
  const of = (text: string): unknown => (imported(text).yaml.mqtt as { queueQos0Messages?: boolean }).queueQos0Messages
  assert.deepEqual(
    [of(''), of('queue_qos0_messages false\n'), of('queue_qos0_messages true\n')],
    [undefined, undefined, true],
  )
})
