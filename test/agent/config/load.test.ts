import { test } from 'node:test'
import assert from 'node:assert/strict'
import { configError, loadConfig } from '../../../agent/config/load.ts'

const problems = (text: string): string[] => {
  const loaded = loadConfig(text)
  return loaded.ok ? [] : loaded.problems.map((p) => `${p.line} ${p.path}`)
}

test('the smallest configuration', () => {
  const loaded = loadConfig('directory: /etc/meshlet/resources\n')
  assert.ok(loaded.ok)
  assert.equal(loaded.config.admin.port, 15_000)
  assert.equal(loaded.config.mqtt.spool.profile, 'strict')
  assert.ok(Object.isFrozen(loaded.config.mqtt.limits))
})

test('upstream resolvers with and without port, of both families', () => {
  const loaded = loadConfig(
    'directory: d\ndns: {upstreams: [10.0.0.1, "10.0.0.2:5353", "[fd00::1]", "[fd00::2]:5353", "fd00::3"], search: [Lan.]}\n',
  )
  assert.ok(loaded.ok)
  assert.deepEqual(loaded.config.dns?.upstreams, [
    { host: '10.0.0.1', port: 53 },
    { host: '10.0.0.2', port: 5353 },
    { host: 'fd00::1', port: 53 },
    { host: 'fd00::2', port: 5353 },
    { host: 'fd00::3', port: 53 },
  ])
  assert.deepEqual([loaded.config.dns?.search, loaded.config.dns?.port], [['lan'], 15_053])
})

for (const { name, text, want } of [
  {
    name: 'an unknown key names its line',
    text: 'directory: d\nadmin:\n  port: 1\n  prot: 2\n',
    want: ['4 admin.prot'],
  },
  {
    name: 'all mistakes of a file in one run, by line',
    text: 'directory: d\nlog: {level: loud}\nlisteners:\n- {name: a, kind: mqtt, port: 99999}\n- {name: a, kind: http_proxy, port: 80}\n',
    want: ['2 log.level', '4 listeners[0].port'],
  },
  {
    name: 'what a broker behind a transparent listener would have to offer',
    text: 'directory: d\nlisteners:\n- {name: a, kind: mqtt, port: 1, mode: transparent, cluster: c, mqtt: {topicPrefix: a/}}\n',
    want: ['3 listeners[0].mqtt.topicPrefix'],
  },
  {
    name: 'revocation lists without roots',
    text: 'directory: d\nlisteners:\n- {name: a, kind: mqtt, port: 1, tls: {mode: server, chain: /c, key: /k, clientCrl: /l}}\n',
    want: ['3 listeners[0].tls.clientCrl'],
  },
  {
    name: 'two listeners of one name',
    text: 'directory: d\nlisteners:\n- {name: a, kind: mqtt, port: 1}\n- {name: a, kind: mqtt, port: 2}\n',
    want: ['4 listeners[1].name'],
  },
  { name: 'neither control nor directory', text: 'log: {level: info}\n', want: ['1 '] },
  {
    name: 'both control and directory',
    text: 'control: {address: "a:1", roots: r}\ndirectory: d\n',
    want: ['2 directory'],
  },
  {
    name: 'an address without port',
    text: 'control:\n  address: hub.example\n  roots: r\n',
    want: ['2 control.address'],
  },
  {
    name: 'an unknown key deep in mqtt',
    text: 'directory: d\nmqtt:\n  routes:\n  - match: a/#\n    direction: up\n    cluster: c\n    qos: 1\n',
    want: ['7 mqtt.routes[0].qos'],
  },
  {
    name: 'an upstream resolver that is a name',
    text: 'directory: d\ndns:\n  upstreams: [1.1.1.1, dns.example]\n',
    want: ['3 dns.upstreams[1]'],
  },
  {
    name: 'an upstream resolver with a port that is none',
    text: 'directory: d\ndns: {upstreams: ["1.1.1.1:0"]}\n',
    want: ['2 dns.upstreams[0]'],
  },
  {
    name: 'a search domain that is none',
    text: 'directory: d\ndns: {search: [lan, "a b"]}\n',
    want: ['2 dns.search[1]'],
  },
  {
    name: 'an admin port that others reach, without a word that this is meant',
    text: 'directory: d\nadmin:\n  address: 0.0.0.0\n',
    want: ['3 admin.address'],
  },
  { name: 'the same, meant', text: 'directory: d\nadmin:\n  address: 0.0.0.0\n  acceptAnyone: true\n', want: [] },
  {
    name: 'bounds and folders of access logs',
    text: 'directory: d\ntelemetry:\n  accessLogs:\n    folders: [/var/log/a, /a/../b, logs]\n    maxLinesPerSecond: -1\n    maxFileBytes: 1000\n',
    want: [
      '4 telemetry.accessLogs.folders[1]',
      '4 telemetry.accessLogs.folders[2]',
      '5 telemetry.accessLogs.maxLinesPerSecond',
      '6 telemetry.accessLogs.maxFileBytes',
    ],
  },
  { name: 'another loopback address for the admin port', text: 'directory: d\nadmin: {address: "::1"}\n', want: [] },
  {
    name: 'an acl file without its folder, an unknown word',
    text: 'directory: d\nmqtt: {aclFile: acl, wideSubscriptions: all}\n',
    want: ['2 mqtt.wideSubscriptions', '2 mqtt.aclFile'],
  },
  {
    name: 'quotas of nothing',
    text: 'directory: d\nmqtt:\n  quotas:\n  - maxConnections: 0\n  - maxBytesPerSec: 1.5\n  - maxMessages: 1\n  - minDiskFreeBytes: -1\n',
    want: [
      '4 mqtt.quotas[0].maxConnections',
      '5 mqtt.quotas[1].maxBytesPerSec',
      '6 mqtt.quotas[2].maxMessages',
      '7 mqtt.quotas[3].minDiskFreeBytes',
    ],
  },
  {
    name: 'an allowed origin that is a path',
    text: 'directory: d\nmqtt:\n  allowedOrigins: [https://a.example, https://a.example/x]\n',
    want: ['3 mqtt.allowedOrigins[1]'],
  },
  {
    name: 'a way to prove a user that nothing proves, and one that no certificate is asked for',
    text: 'directory: d\nmqtt: {users: {passwordFile: p, certificateUser: cn}}\nlisteners:\n- name: a\n  kind: mqtt\n  port: 1\n  mqtt: {authentication: [jwt, certificate]}\n',
    want: ['7 listeners[0].mqtt.authentication', '7 listeners[0].mqtt.authentication'],
  },
  {
    name: 'a listener that lets nobody in, and one that names a user of certificates without users',
    text: 'directory: d\nlisteners:\n- name: a\n  kind: mqtt\n  port: 1\n  mqtt:\n    anonymous: false\n- name: b\n  kind: mqtt\n  port: 2\n  mqtt:\n    certificateUser: cn\n',
    want: ['6 listeners[0].mqtt', '12 listeners[1].mqtt.certificateUser'],
  },
  {
    name: 'users that prove nothing, and hashes at once that are too many',
    text: 'directory: d\nmqtt:\n  users:\n    passwordFile: p\n    maxPasswordChecks: 17\n',
    want: ['5 mqtt.users.maxPasswordChecks'],
  },
  { name: 'YAML that does not parse', text: 'directory: [d\n', want: ['2 '] },
  { name: 'a key twice', text: 'directory: a\ndirectory: b\n', want: ['2 '] },
])
  test(`configuration mistakes: ${name}`, () => assert.deepEqual(problems(text), want))

test('the error names file, line, setting and what to do', () => {
  const loaded = loadConfig('directory: d\nlog: {level: loud}\n')
  assert.ok(!loaded.ok)
  const err = configError('/etc/meshlet/agent.yaml', loaded.problems)
  assert.equal(err.code, 'MESH_CONFIG_INVALID')
  assert.match(err.message, /\/etc\/meshlet\/agent\.yaml:2: log\.level: /)
})

test('an alias bomb is refused', () => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...'bcdefghi'
      .split('')
      .map((k, i) => `${k}: &${k} [${Array.from({ length: 9 }, () => `*${'abcdefghi'[i]}`).join(',')}]`),
  ].join('\n')
  const loaded = loadConfig(bomb)
  assert.ok(!loaded.ok)
  assert.match(loaded.problems[0]!.problem, /alias/i)
})
