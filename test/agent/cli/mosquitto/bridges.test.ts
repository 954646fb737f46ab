import { test } from 'node:test'
import assert from 'node:assert/strict'
import { imported } from './conf.ts'

const BRIDGE = 'connection cloud\naddress broker.example:8883\n'

for (const [topic, expected] of [
  ['a/#', { direction: 'up', match: 'a/#', maxQos: 0 }],
  ['a/# out 1', { direction: 'up', match: 'a/#', maxQos: 1 }],
  ['a/# in 2', { direction: 'down', match: 'a/#', maxQos: 2 }],
  [
    '# out 1 site/ plant/7/',
    { direction: 'up', match: 'site/#', stripPrefix: 'site/', addPrefix: 'plant/7/', maxQos: 1 },
  ],
  [
    '# in 1 from-cloud/ plant/7/',
    { direction: 'down', match: 'plant/7/#', stripPrefix: 'plant/7/', addPrefix: 'from-cloud/', maxQos: 1 },
  ],
  ['x/+ both 1 "" up/', { direction: 'both', match: 'x/+', addPrefix: 'up/', maxQos: 1 }],
  ['"" out 0 here there', { direction: 'up', match: 'here', stripPrefix: 'here', addPrefix: 'there', maxQos: 0 }],
] as const)
  test(`topic ${topic}`, () => {
    const { yaml, left } = imported(`${BRIDGE}topic ${topic}\n`)
    assert.deepEqual([yaml.mqtt.routes, left], [[{ ...expected, cluster: 'bridge-cloud', clientId: 'plc.cloud' }], []])
  })

test('who it is, how it starts, waits and tells', () => {
  const { yaml, secrets, left } = imported(
    `${BRIDGE}topic # out 1\nremote_clientid site-7\nremote_username u\nremote_password s3cret\nstart_type lazy\nthreshold 5\nidle_timeout 30\nrestart_timeout 5 30\nkeepalive_interval 120\nnotification_topic state/7\nbridge_protocol_version mqttv50\nbridge_outgoing_retain false\n`,
  )
  assert.deepEqual(left, [])
  assert.deepEqual(yaml.mqtt.bridges, [
    {
      cluster: 'bridge-cloud',
      clientId: 'site-7',
      credentials: { username: 'u', passwordFile: '/etc/meshlet/secrets/bridge-cloud.password' },
      protocol: 'auto',
      start: 'lazy',
      lazyMessages: 5,
      idleSec: 30,
      reconnectMinMs: 5000,
      reconnectMaxMs: 30_000,
      notifications: 'both',
      notificationTopic: 'state/7',
      keepAliveSec: 120,
    },
  ])
  assert.equal(yaml.mqtt.routes![0]!['retain'], 'clear')
  assert.deepEqual(secrets, [{ name: 'bridge-cloud.password', content: 's3cret\n' }])
  assert.doesNotMatch(JSON.stringify(yaml), /s3cret/)
})

for (const [option, expected, same] of [
  ['round_robin true', { roundRobin: true }, []],
  ['round_robin false', {}, ['4 round_robin: it is so here']],
  [
    'cleansession true',
    { cleanStart: true },
    ['4 cleansession: what goes up waits in the spool, where mosquitto drops it'],
  ],
  ['cleansession false', {}, ['4 cleansession: it is so here']],
  ['bridge_max_packet_size 1000', { maxPacketBytes: 1000 }, []],
  ['bridge_max_packet_size 5', { maxPacketBytes: 20 }, []],
  ['bridge_max_packet_size 2000000000', { maxPacketBytes: 268_435_460 }, []],
  ['bridge_max_packet_size 0', {}, ['4 bridge_max_packet_size: it is no bound']],
  ['bridge_max_packet_size -1', {}, ['4 bridge_max_packet_size: it is no bound']],
] as const)
  test(option, () => {
    const plain = imported(`${BRIDGE}topic #\n`).yaml.mqtt.bridges![0]
    const { yaml, left, ...rest } = imported(`${BRIDGE}topic #\n${option}\n`)
    assert.deepEqual([yaml.mqtt.bridges, left, rest.same], [[{ ...plain, ...expected }], [], same])
  })

test('several addresses are clusters that are tried in turn; TLS is theirs', () => {
  const { yaml, clusters } = imported(
    'connection c\naddresses 10.0.0.1 [fd00::1]:1884 b.example\ntopic #\nbridge_cafile /ca.pem\nbridge_certfile /c\nbridge_keyfile /k\nbridge_alpn mqtt\n',
  )
  assert.deepEqual(yaml.mqtt.bridges![0]!['failover'], ['bridge-c-2', 'bridge-c-3'])
  const text = clusters.map((one) => JSON.stringify(one))
  assert.match(text[0]!, /"STATIC".*"10\.0\.0\.1","port_value":1883.*"IP_ADDRESS".*"10\.0\.0\.1"/)
  assert.match(text[1]!, /"fd00::1","port_value":1884/)
  assert.match(
    text[2]!,
    /"STRICT_DNS".*"sni":"b\.example".*"filename":"\/c".*"alpn_protocols":\["mqtt"\].*"\/ca\.pem".*"DNS"/,
  )
  assert.doesNotMatch(
    JSON.stringify(imported('connection c\naddress b\ntopic #\nbridge_cafile /ca\nbridge_insecure true\n').clusters),
    /match_typed/,
  )
})

test('what cannot be is left out with its line', () => {
  for (const [more, expected] of [
    ['topic # sideways', /^3 topic: must be/],
    ['topic # out 3', /^3 topic: must be/],
    ['topic #\nstart_type manual', /^4 start_type: .*"manual"/],
    ['topic #\nkeepalive_interval 70000', /^4 keepalive_interval: .*5 to/],
    ['topic #\nrestart_timeout 90 60', /^4 restart_timeout: must be 1 to 3600/],
    ['topic # in 1 a b', /^3 topic: b# is no topic filter/],
    ['topic #\nbridge_certfile /c', /^4 bridge_certfile: TLS towards/],
    ['topic #\nbridge_protocol_version mqttv31', /^4 bridge_protocol_version: .*3\.1\.1 it is/],
    ['topic #\nbridge_psk 00', /^4 bridge_psk: /],
    ['topic #\nbridge_bind_address eth0', /^4 bridge_bind_address: must be an address/],
  ] as const)
    assert.match(imported(`${BRIDGE}${more}\n`).left[0] ?? 'nothing', expected, more)
  assert.match(imported('connection c\ntopic #\n').left.join(), /connection: has no address/)
  assert.match(imported('topic #\n').left.join(), /1 topic: stands before any `connection`/)
})

test('a bridge that asks for TLS in a way that there is not is left out whole: it would say its password aloud', () => {
  const rest = 'topic #\nremote_username u\nremote_password s3cret\n'
  for (const more of ['bridge_psk 00\n', 'bridge_psk no\nbridge_identity i\n', 'bridge_capath /etc/ssl/certs\n']) {
    const { yaml, clusters, secrets, left } = imported(`${BRIDGE}${more}${rest}`)
    assert.deepEqual([yaml.mqtt.bridges, yaml.mqtt.routes, clusters, secrets], [undefined, undefined, [], []])
    assert.match(left.join('\n'), /^1 connection: is left out whole/m)
  }
  const both = imported(`${BRIDGE}bridge_capath /etc/ssl/certs\nbridge_cafile /ca\n${rest}`)
  assert.equal(both.clusters.length, 1)
  assert.match(JSON.stringify(both.clusters), /UpstreamTlsContext/)
})

test('a pre-shared key is a file of its own, and comes before certificates, as in mosquitto', () => {
  const { yaml, clusters, secrets, left } = imported(
    `${BRIDGE}topic #\nbridge_identity site-7\nbridge_psk 0aB1\nbridge_cafile /ca\nremote_password p\n`,
  )
  assert.deepEqual(left, [])
  assert.deepEqual(yaml.mqtt.bridges![0]!['psk'], {
    identity: 'site-7',
    keyFile: '/etc/meshlet/secrets/bridge-cloud.psk',
  })
  assert.deepEqual(secrets, [
    { name: 'bridge-cloud.password', content: 'p\n' },
    { name: 'bridge-cloud.psk', content: '0aB1\n' },
  ])
  assert.doesNotMatch(JSON.stringify([yaml, clusters]), /0aB1|transport_socket/)
})

test('bridge_bind_address is where connections to the broker come from', () => {
  const { clusters, left } = imported(`${BRIDGE}topic #\nbridge_bind_address 10.0.0.5\n`)
  assert.deepEqual(left, [])
  assert.match(JSON.stringify(clusters), /"upstream_bind_config":\{"source_address":\{"address":"10\.0\.0\.5"/)
})

test('bridges whose names differ in odd letters only have clusters and passwords of their own', () => {
  const one = (name: string): string =>
    `connection ${name}\naddress b\ntopic #\nremote_username u\nremote_password of ${name}\n`
  const { secrets, clusters } = imported(`${one('a/b')}${one('a:b')}${one('../../x')}`)
  const names = clusters.map((cluster) => (cluster as { name: string }).name)
  assert.deepEqual([new Set(names).size, new Set(secrets.map(({ name }) => name)).size], [3, 3])
  for (const { name } of secrets) assert.doesNotMatch(name, /\//)
  assert.equal(secrets[0]!.content, 'of a/b\n')
})

test('what is too small is the least that mosquitto takes; comments stand behind numbers, directions and addresses', () => {
  const { yaml, clusters, left } = imported(
    'connection c # d\naddress 10.0.0.1:1884 b.example # the old one\ntopic # BOTH 1 # all\ntopic a out 1 x/ y/ # one\n' +
      'keepalive_interval 1 # s\nthreshold 0\nidle_timeout 0\nstart_type lazy # slow\nrestart_timeout 0 120 # s\nbridge_receive_maximum 65535\n',
  )
  assert.deepEqual(left, [])
  assert.equal(clusters.length, 2)
  const { keepAliveSec, lazyMessages, idleSec, start, reconnectMinMs, reconnectMaxMs, maxInflight } =
    yaml.mqtt.bridges![0]!
  assert.deepEqual(
    [keepAliveSec, lazyMessages, idleSec, start, reconnectMinMs, reconnectMaxMs, maxInflight],
    [5, 1, 1, 'lazy', 1_000, 120_000, 60_000],
  )
  assert.deepEqual(
    yaml.mqtt.routes!.map(({ direction, match, stripPrefix, addPrefix }) => [direction, match, stripPrefix, addPrefix]),
    [
      ['both', '#', undefined, undefined],
      ['up', 'x/a', 'x/', 'y/'],
    ],
  )
})

for (const [address, host, port] of [
  ['fd00::1:8884', 'fd00::1', 8884],
  ['[fd00::1]:8884', 'fd00::1', 8884],
  ['[fd00::1]', 'fd00::1', 1883],
  ['b.example:8884', 'b.example', 8884],
  ['b.example', 'b.example', 1883],
  ['10.0.0.1', '10.0.0.1', 1883],
] as const)
  test(`address ${address}`, () => {
    const { clusters } = imported(`connection c\naddress ${address}\ntopic #\n`)
    assert.match(JSON.stringify(clusters), new RegExp(`"address":"${host}","port_value":${port}`))
  })
test('an address that is none is said', () => {
  for (const address of ['b.example:0', 'b.example:70000', 'b:c:d:x', ':1883'])
    assert.throws(() => imported(`connection c\naddress ${address}\ntopic #\n`), /must be HOST\[:PORT\]/, address)
})
