import { test } from 'node:test'
import assert from 'node:assert/strict'
import { imported } from './conf.ts'

const listeners = (text: string): Record<string, unknown>[] => imported(text).yaml.listeners

test('without any listener it is for this machine alone, and lets anybody in, as with mosquitto 2', () => {
  assert.deepEqual(listeners(''), [
    { name: 'mqtt-1883', kind: 'mqtt', port: 1883, address: '127.0.0.1', mqtt: { anonymous: true } },
  ])
})

test('a listener is open to all addresses, and to nobody without a user, unless it says otherwise', () => {
  const [all, one] = listeners('password_file /p\nlistener 1883\nlistener 1884 10.0.0.1\nmax_connections 5\n')
  assert.deepEqual(all, {
    name: 'mqtt-1883',
    kind: 'mqtt',
    port: 1883,
    address: '::',
    ipv4Compat: true,
    mqtt: { anonymous: false, authentication: ['password'] },
  })
  assert.deepEqual([one!['address'], (one!['mqtt'] as { maxConnections: number }).maxConnections], ['10.0.0.1', 5])
  assert.equal(listeners('allow_anonymous true\nlistener 1883\n')[0]!['acceptAnyone'], true)
})

test('port and bind_address are a listener, too, and two of one port have two names', () => {
  const found = listeners(
    'allow_anonymous true\nport 1890\nbind_address 127.0.0.1\nlistener 1891 10.0.0.1\nlistener 1891 10.0.0.2\n',
  )
  assert.deepEqual(
    found.map(({ name, address, port }) => [name, address, port]),
    [
      ['mqtt-1890', '127.0.0.1', 1890],
      ['mqtt-1891', '10.0.0.1', 1891],
      ['mqtt-1891-2', '10.0.0.2', 1891],
    ],
  )
})

test('WebSocket with its origins, TLS with and without certificates of clients', () => {
  const [web, tls, mutual] = listeners(
    'allow_anonymous true\nlistener 8083\nprotocol websockets\nwebsockets_origin https://panel.example\n' +
      'listener 8883\ncafile /ca\ncertfile /cert\nkeyfile /key\n' +
      'listener 8884\ncafile /ca\ncertfile /cert\nkeyfile /key\nrequire_certificate true\nuse_identity_as_username true\n',
  )
  assert.equal(web!['transport'], 'websocket')
  assert.deepEqual((web!['mqtt'] as { allowedOrigins: string[] }).allowedOrigins, ['https://panel.example'])
  assert.deepEqual(tls!['tls'], { mode: 'server', chain: '/cert', key: '/key' })
  assert.deepEqual(mutual!['tls'], { mode: 'server', chain: '/cert', key: '/key', clientRoots: '/ca' })
  assert.deepEqual(mutual!['mqtt'], { anonymous: true, certificateUser: 'cn', authentication: ['certificate'] })
})

test('with per_listener_settings each says who may come', () => {
  const { yaml, left } = imported(
    'per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\nlistener 1884\npassword_file /p\nacl_file /a\nlistener 1885\npassword_file /other\n',
  )
  assert.deepEqual(
    yaml.listeners.map((one) => (one['mqtt'] as { anonymous: boolean }).anonymous),
    [true, false],
  )
  assert.deepEqual([yaml.mqtt.users, yaml.mqtt.aclFile], [{ passwordFile: '/p' }, undefined])
  assert.deepEqual(
    yaml.listeners.map((one) => one['mqtt']),
    [
      { anonymous: true, authentication: [] },
      { anonymous: false, authentication: ['password'], aclFile: '/a' },
    ],
  )
  assert.deepEqual(left, [
    '8 password_file: the node has one passwordFile, for all listeners: put what is in /other into /p',
    '7 listener: lets nobody in: it has no users of its own, so it is not opened',
  ])
})

test('what no listener of agent.yaml can is left out with what to do', () => {
  const { left } = imported(
    'tls_version tlsv1.3\nlistener 0 m.sock\nlistener 1884 plc.example\nprotocol http_api\nlistener 1883\nallow_anonymous true\ncertfile /c\n',
  )
  assert.equal(left.length, 5)
  assert.match(left.join('\n'), /^1 tls_version: .*behind the one/m)
  assert.match(left.join('\n'), /^2 listener: names no absolute path/m)
  assert.match(left.join('\n'), /^3 listener: name the IP address of plc\.example/m)
  assert.match(left.join('\n'), /^4 protocol: only mqtt and websockets/m)
  assert.match(left.join('\n'), /^7 certfile: TLS needs certfile and keyfile/m)
})

test('a Unix socket is a listener without a port, and none that others reach', () => {
  const { yaml, left } = imported('allow_anonymous true\nlistener 0 /run/meshlet/mqtt.sock\nlistener 1883\n')
  assert.deepEqual(yaml.listeners[0], {
    name: 'mqtt-unix',
    kind: 'mqtt',
    unix: { path: '/run/meshlet/mqtt.sock' },
    mqtt: { anonymous: true },
  })
  assert.deepEqual([yaml.listeners[1]!['acceptAnyone'], left], [true, []])
})

test('a listener with pre-shared keys takes those alone', () => {
  const { yaml, left } = imported('psk_file /keys\nallow_anonymous true\nlistener 8883\npsk_hint plant\n')
  assert.deepEqual([yaml.mqtt.users, left], [{ pskFile: '/keys' }, []])
  const [{ tls, mqtt, acceptAnyone }] = yaml.listeners as [Record<string, unknown>]
  assert.deepEqual(
    [tls, mqtt, acceptAnyone],
    [{ mode: 'psk', hint: 'plant' }, { anonymous: false, authentication: ['psk'] }, undefined],
  )
  const without = imported('listener 8883\npsk_hint plant\n')
  assert.deepEqual(
    [without.yaml.listeners, without.left],
    [[], ['2 psk_hint: needs psk_file, so the listener is not opened']],
  )
})

const TLS = 'listener 8883\nallow_anonymous true\ncertfile /c\nkeyfile /k\n'
for (const [name, more, left] of [
  ['topics whose names are longer, not below', 'mount_point plant/7\n', /^5 mount_point: .*not opened/],
  ['topics of everybody', 'mount_point /\n', /^5 mount_point: .*not opened/],
  ['topics of the broker', 'mount_point $SYS/\n', /^5 mount_point: .*not opened/],
  ['certificates of a folder', 'capath /ca\nrequire_certificate true\n', /^6 require_certificate: .*not opened/m],
  ['certificates of nobody', 'require_certificate true\n', /^5 require_certificate: .*not opened/],
] as const)
  test(`a listener that would let more in than mosquitto does is not opened: ${name}`, () => {
    const found = imported(TLS + more)
    assert.deepEqual(found.yaml.listeners, [])
    assert.match(found.left.join('\n'), left)
  })

test('a listener of one interface is for this machine until its address is named', () => {
  const { yaml, left } = imported('allow_anonymous true\nlistener 1883\nbind_interface eth1\n')
  assert.equal(yaml.listeners[0]!['address'], '127.0.0.1')
  assert.match(left.join(), /^3 bind_interface: name the address/)
  const named = imported('allow_anonymous true\nlistener 1883 10.0.0.1\nbind_interface eth1\n')
  assert.deepEqual([named.yaml.listeners[0]!['address'], named.left], ['10.0.0.1', []])
})

test('what a listener offers: a prefix of topics, QoS, versions, retained messages', () => {
  const { yaml, left, same } = imported(
    'allow_anonymous true\nretain_available false\nlistener 1883\nmount_point plant/7/\nmax_qos 1\naccept_protocol_versions 3,4\n' +
      'listener 1884\nmax_qos 2\naccept_protocol_versions 5, 4 3\n',
  )
  assert.deepEqual(
    yaml.listeners.map(({ mqtt }) => mqtt),
    [
      {
        anonymous: true,
        topicPrefix: 'plant/7/',
        maxQos: 1,
        protocolVersions: ['3.1', '3.1.1'],
        retainAvailable: false,
      },
      { anonymous: true, retainAvailable: false },
    ],
  )
  assert.deepEqual([left, same], [[], ['8 max_qos: it is so here', '9 accept_protocol_versions: it is so here']])
})
test('what a listener offers that nobody understands is left out, with the line', () => {
  const { yaml, left } = imported('allow_anonymous true\nlistener 1883\nmax_qos 3\naccept_protocol_versions 4,6\n')
  assert.deepEqual(yaml.listeners[0]!['mqtt'], { anonymous: true })
  assert.deepEqual(
    left.map((line) => line.split(':')[0]),
    ['3 max_qos', '4 accept_protocol_versions'],
  )
})
test('the least TLS, and its ciphers', () => {
  const of = (more: string) => {
    const { yaml, left } = imported(`${TLS}${more}`)
    return [yaml.listeners[0]!['tls'], left.map((line) => line.split(':')[0])]
  }
  const tls = { mode: 'server', chain: '/c', key: '/k' }
  assert.deepEqual(of('tls_version tlsv1.3\n'), [{ ...tls, minVersion: 'TLSv1.3' }, []])
  assert.deepEqual(of('tls_version tlsv1.2\nciphers HIGH:!aNULL\n'), [{ ...tls, ciphers: 'HIGH:!aNULL' }, []])
  assert.deepEqual(of('tls_version tlsv1.1\nciphers NO-SUCH\n'), [tls, ['5 tls_version', '6 ciphers']])
  const psk = imported(
    'allow_anonymous true\npsk_file /p\nlistener 8883\npsk_hint h\ntls_version tlsv1.3\nciphers PSK\n',
  )
  assert.deepEqual(
    psk.left.map((line) => line.split(':')[0]),
    ['5 tls_version', '6 ciphers'],
  )
})
test('clients without a client id: of all listeners, or of each', () => {
  const of = (conf: string) => {
    const { yaml, left } = imported(`allow_anonymous true\n${conf}`)
    return [...yaml.listeners.map(({ mqtt }) => (mqtt as Record<string, unknown>)['allowZeroLengthClientIds']), ...left]
  }
  assert.deepEqual(of('allow_zero_length_clientid false\nlistener 1883\nlistener 1884\n'), [false, false])
  assert.deepEqual(
    of(
      'per_listener_settings true\nlistener 1883\nallow_anonymous true\nallow_zero_length_clientid false\nlistener 1884\nallow_anonymous true\nallow_zero_length_clientid true\n',
    ).slice(0, 2),
    [false, true],
  )
  assert.deepEqual(of('listener 1883\n'), [undefined])
})
test('revoked certificates of clients stay out', () => {
  const { yaml, left } = imported(`${TLS}cafile /ca\nrequire_certificate true\ncrlfile /crl\n`)
  assert.deepEqual(
    [yaml.listeners[0]!['tls'], left],
    [{ mode: 'server', chain: '/c', key: '/k', clientRoots: '/ca', clientCrl: '/crl' }, []],
  )
})

const ports = (text: string, more: Readonly<Record<string, string>> = {}): unknown[] =>
  imported(text, more).yaml.listeners.map(({ port, address }) => [port, address])

test('the default listener is opened where mosquitto opens it', () => {
  const open = 'allow_anonymous true\n'
  assert.deepEqual(ports(`${open}bind_address 10.0.0.1\n`), [[1883, '10.0.0.1']])
  assert.deepEqual(ports(`${open}listener 1884 10.0.0.1\nport 1885\nbind_address 10.0.0.2\n`), [
    [1885, '10.0.0.2'],
    [1884, '10.0.0.1'],
  ])
  for (const line of ['max_connections 5', 'max_qos 1', 'protocol websockets', 'socket_domain ipv4', 'cafile /ca'])
    assert.deepEqual(ports(`${open}${line}\nlistener 1884 10.0.0.1\n`).length, 2, line)
  for (const line of ['max_connections -1', 'max_qos 2', 'protocol mqtt', 'use_identity_as_username false'])
    assert.deepEqual(ports(`${open}${line}\nlistener 1884 10.0.0.1\n`), [[1884, '10.0.0.1']], line)
})

test('a family of addresses, and comments behind ports and addresses', () => {
  assert.deepEqual(
    ports(
      'allow_anonymous true # all\nlistener 1883 # plain\nsocket_domain ipv4\nlistener 1884\nsocket_domain ipv6 # new\nlistener 1885 10.0.0.1 # one\n',
    ),
    [
      [1883, '0.0.0.0'],
      [1884, '::'],
      [1885, '10.0.0.1'],
    ],
  )
})

test('what an included file says is not of the listener or bridge of another file', () => {
  const { yaml, left } = imported(
    'allow_anonymous true\nlistener 1884 10.0.0.1\nconnection c\naddress b\ninclude_dir /d\ntopic #\nmax_connections 7\n',
    {
      '/d/a.conf': 'listener 1885 10.0.0.1\ninclude_dir /e\nremote_password x\n',
      '/d/B.conf': 'max_connections 5\n',
    },
  )
  const connections = yaml.listeners.map(({ port, mqtt }) => [
    port,
    (mqtt as { maxConnections?: number }).maxConnections,
  ])
  assert.deepEqual(connections, [
    [1883, 5],
    [1884, 7],
    [1885, undefined],
  ])
  assert.deepEqual(left, ['3 remote_password: stands before any `connection` of its file: mosquitto refuses it, too'])
})

test('a listener that lets nobody in is not opened, and told; nor is one whose clients a plugin decides about', () => {
  for (const [text, expected] of [
    ['listener 1883\n', /^1 listener: lets nobody in: it has no users, so/],
    ['allow_anonymous false\n', /^1 allow_anonymous: lets nobody in/],
    ['listener 1883\nallow_anonymous true\nplugin /usr/lib/mosquitto_dynamic_security.so\n', /^3 plugin: /],
    [
      'allow_anonymous true\nlistener 1883\nuse_identity_as_username true\n',
      /^3 use_identity_as_username: lets nobody in/,
    ],
    ['allow_anonymous true\nlistener 1883\nwebsockets_origin Panel\n', /^3 websockets_origin: is no origin/],
    ['auth_plugin /go-auth.so\nlistener 1883\nallow_anonymous true\n', /^1 auth_plugin: /],
  ] as const) {
    const { yaml, left } = imported(text)
    assert.deepEqual(yaml.listeners, [], text)
    assert.match(left.join('\n'), expected)
  }
  const kept = imported('allow_anonymous true\nlistener 1883\nplugin /usr/lib/mosquitto_persist_sqlite.so\n')
  assert.equal(kept.yaml.listeners.length, 1)
})
