import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createListeners } from '../../../agent/config/listeners.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { systemDisk, type Disk } from '../../../core/os/disk.ts'
import type { FilterChain, Listener } from '../../../model/listener.ts'
import { testCa } from '../../helpers/test-ca.ts'

const NO_DISK: Disk = { ...systemDisk, read: () => assert.fail('no file was named') }
/** @param files by name; `undefined` cannot be read */
const diskWith = (files: Record<string, string | undefined>): Disk => ({
  ...systemDisk,
  read: (file) => {
    if (!(file in files)) return undefined
    if (files[file] === undefined) throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
    return Buffer.from(files[file])
  },
})
function listeners(yaml: string, disk = NO_DISK): readonly Listener[] {
  const loaded = loadConfig(`control: {address: "a:1", roots: /r}\nlisteners:\n${yaml}`)
  return loaded.ok
    ? createListeners(loaded.config, { disk, findPskKey: () => undefined })
    : assert.fail(JSON.stringify(loaded.problems))
}
const one = (yaml: string, disk?: Disk): Listener & { readonly defaultFilterChain: FilterChain } => {
  const [made] = listeners(yaml, disk)
  return made?.defaultFilterChain ? { ...made, defaultFilterChain: made.defaultFilterChain } : assert.fail('no chain')
}

test('a listener has the address, the port and the name of agent.yaml, and says that it is from there', () => {
  const made = one('- {name: p, kind: tcp, address: "::", port: 81, ipv4Compat: true, cluster: c}')
  assert.deepEqual(
    [made.name, made.address, made.port, made.ipv4Compat, made.source],
    ['p', '::', 81, true, 'agent.yaml listeners.p'],
  )
  assert.ok(made.bindToPort && !made.useOriginalDst)
  assert.deepEqual([made.filterChains, made.defaultFilterChain.policies], [[], []])
  assert.equal('ipv4Compat' in one('- {name: p, kind: tcp, port: 81, cluster: c}'), false)
})

for (const [kind, yaml, direction, sniffsHttp] of [
  ['http_proxy', '- {name: a, kind: http_proxy, port: 1}', 'outbound', true],
  ['http', '- {name: a, kind: http, port: 1, routes: r}', 'unspecified', true],
  ['tcp', '- {name: a, kind: tcp, port: 1, cluster: c}', 'outbound', false],
  ['mqtt', '- {name: a, kind: mqtt, port: 1}', 'unspecified', false],
] as const)
  test(`${kind}: whose traffic it is, and what the first bytes are looked at for`, () => {
    const made = one(yaml)
    assert.equal(made.direction, direction)
    assert.deepEqual(made.sniff, { tls: false, http: sniffsHttp, timeoutMs: 0, onTimeout: 'close' })
    assert.equal(made.defaultFilterChain.tls, undefined)
  })

test('HTTP: the proxy for applications has a route table of its own, the port that of its name', () => {
  const codecs = listeners(
    '- {name: a, kind: http_proxy, port: 1}\n- {name: b, kind: http_proxy, port: 2, routes: x}\n- {name: c, kind: http, port: 3, routes: r}\n',
  ).map((l) => l.defaultFilterChain!.codec)
  assert.deepEqual(
    codecs.map((c) => c.kind === 'http' && [c.http.routes, c.http.explicitProxy]),
    [
      [{ from: 'rds', name: 'http_proxy' }, true],
      [{ from: 'rds', name: 'x' }, true],
      [{ from: 'rds', name: 'r' }, false],
    ],
  )
  const [first] = codecs
  assert.ok(first?.kind === 'http' && first.http.forwardClientCert === 'sanitize' && first.http.normalizePath)
})

test('TCP goes to its cluster, MQTT by the policy of agent.yaml and the transport that is said', () => {
  const [tcp, plain, web] = listeners(
    '- {name: a, kind: tcp, port: 1, cluster: c}\n- {name: b, kind: mqtt, port: 2}\n- {name: d, kind: mqtt, port: 3, transport: websocket}\nmqtt: {limits: {maxTopicLevels: 7}}\n',
  ).map((l) => l.defaultFilterChain!.codec)
  assert.deepEqual(tcp?.kind === 'tcp' && tcp.tcp.clusters.map((c) => [c.name, c.weight]), [['c', 1]])
  assert.ok(plain?.kind === 'mqtt' && plain.transport === 'tcp' && plain.mqtt.limits.maxTopicLevels === 7)
  assert.ok(web?.kind === 'mqtt' && web.transport === 'websocket')
})

test('mode mutual: the identity of the mesh, and a certificate of every client; there is no file to read', () => {
  const made = one('- {name: a, kind: mqtt, port: 1, tls: {mode: mutual}}')
  const { tls } = made.defaultFilterChain
  assert.deepEqual(
    [tls?.certificate, tls?.validation, tls?.requireClientCertificate],
    [{ from: 'workload' }, { roots: { from: 'workload' }, sans: [] }, true],
  )
  assert.equal(made.prepare, undefined)
})

for (const [kind, rest, protocols] of [
  ['http', 'routes: r', ['h2', 'http/1.1']],
  ['mqtt', 'transport: tcp', ['mqtt', 'http/1.1', 'istio-peer-exchange', 'istio']],
  ['tcp', 'cluster: c', []],
] as const)
  test(`ALPN of ${kind}`, () => {
    const { tls } = one(`- {name: a, kind: ${kind}, port: 1, ${rest}, tls: {mode: mutual}}`).defaultFilterChain
    assert.deepEqual(tls?.alpnProtocols, protocols)
  })

const ca = testCa()
const [own, other] = [ca.issue('a', 'a'), ca.issue('b', 'b')]
const TLS = '- {name: m, kind: mqtt, port: 1, tls: {mode: server, chain: /chain, key: /key}}'
const TLS_ROOTS = TLS.replace('key: /key', 'key: /key, clientRoots: /roots')
const FILES = { '/chain': own.chainPem, '/key': own.keyPem, '/roots': ca.rootsPem }

test('mode server: files are read before the port is opened, and clients need no certificate', () => {
  const made = one(TLS, diskWith(FILES))
  made.prepare!()
  const { tls } = made.defaultFilterChain
  assert.deepEqual(tls?.certificate, { from: 'pem', chainPem: own.chainPem, keyPem: own.keyPem })
  assert.deepEqual([tls?.validation, tls?.requireClientCertificate], [undefined, false])
})

test('with clientRoots a client has to show a certificate of these', () => {
  const made = one(TLS_ROOTS, diskWith(FILES))
  made.prepare!()
  const { tls } = made.defaultFilterChain
  assert.deepEqual(
    [tls?.validation, tls?.requireClientCertificate],
    [{ roots: { from: 'pem', rootsPem: ca.rootsPem }, sans: [] }, true],
  )
})

test('files that were read are not read again: the port may close and open', () => {
  const files: Record<string, string | undefined> = { ...FILES }
  const made = one(TLS, diskWith(files))
  made.prepare!()
  delete files['/chain']
  made.prepare!()
})

for (const [what, yaml, files, why] of [
  ['a chain that is not there', TLS, { ...FILES, '/chain': '' }, /^listeners\.m\.tls: \/chain holds no certificate$/],
  ['a chain that cannot be read', TLS, { ...FILES, '/chain': undefined }, /\/chain cannot be read/],
  ['no key', TLS, { '/chain': own.chainPem }, /there is no file \/key/],
  ['a key that is none', TLS, { ...FILES, '/key': own.chainPem }, /\/key holds no private key that can be used/],
  [
    "another's key",
    TLS,
    { ...FILES, '/key': other.keyPem },
    /the certificate of \/chain was not made for the key of \/key/,
  ],
  ['roots that are none', TLS_ROOTS, { ...FILES, '/roots': 'x' }, /\/roots holds no certificate/],
] as const)
  test(`${what}: the listener says so, and works once it is there`, () => {
    const now: Record<string, string | undefined> = { ...files }
    const made = one(yaml, diskWith(now))
    assert.throws(() => made.prepare!(), { code: 'MESH_LISTENER_TLS', message: why })
    Object.assign(now, FILES)
    made.prepare!()
  })

test('what a listener says of MQTT stands in place of what all have, one by one; users are no part of a policy', () => {
  const loaded = loadConfig(`
control: {address: "a:1", roots: /r}
mqtt:
  users: {passwordFile: /p}
  allowedOrigins: ["*"]
  listener: {clientIdPrefixes: [a], anonymous: true}
  limits: {maxPacketBytes: 5000}
  aclFile: /acl/all
listeners:
  - {name: one, kind: mqtt, port: 1}
  - {name: two, kind: mqtt, port: 2, mqtt: {anonymous: false, maxConnections: 3, maxKeepAliveSec: 60, allowedOrigins: [], aclFile: /acl/two}}
  - {name: three, kind: mqtt, port: 3, mqtt: {maxPacketBytes: 6000, authentication: [password]}}
`)
  const made = loaded.ok
    ? createListeners(loaded.config, { disk: NO_DISK, findPskKey: () => undefined })
    : assert.fail(JSON.stringify(loaded.problems))
  const policies = made.map(({ defaultFilterChain: chain }) =>
    chain?.codec.kind === 'mqtt' ? chain.codec.mqtt : assert.fail('no MQTT'),
  )
  assert.deepEqual(
    policies.map(({ listener, allowedOrigins, limits }) => [
      listener,
      allowedOrigins,
      limits.maxPacketBytes,
      limits.maxKeepAliveSec,
    ]),
    [
      [{ clientIdPrefixes: ['a'], anonymous: true }, ['*'], 5000, 65_535],
      [{ clientIdPrefixes: ['a'], anonymous: false, maxConnections: 3 }, [], 5000, 60],
      [{ clientIdPrefixes: ['a'], anonymous: true, authentication: ['password'] }, ['*'], 6000, 65_535],
    ],
  )
  for (const policy of policies) assert.equal('users' in policy, false)
  assert.deepEqual(
    policies.map((policy) => policy.aclFile),
    ['/acl/all', '/acl/two', '/acl/all'],
  )
})
test('mqtt with TLS and plain text on one port: TLS by its first byte, everything else in clear', () => {
  const made = one('- {name: a, kind: mqtt, port: 1, transport: auto, tls: {mode: mutual}, plainText: true}')
  assert.equal(made.sniff.tls, true)
  assert.deepEqual(
    [made.filterChains.map((c) => [c.match.transportProtocol, c.tls !== undefined]), made.defaultFilterChain.tls],
    [[['tls', true]], undefined],
  )
  const strict = one('- {name: a, kind: mqtt, port: 1, transport: auto, tls: {mode: mutual}}')
  assert.deepEqual([strict.filterChains, strict.defaultFilterChain.tls !== undefined], [[], true])
})
test('proxyProtocol: ranges and single addresses of balancers', () => {
  const { proxyProtocol } = one(
    '- {name: a, kind: tcp, port: 1, cluster: c, proxyProtocol: {trusted: [10.0.0.0/8, "::1"]}}',
  )
  assert.deepEqual(
    proxyProtocol?.trusted?.map(({ text }) => text),
    ['10.0.0.0/8', '::1/128'],
  )
  assert.deepEqual([proxyProtocol?.believesCertificate, proxyProtocol?.requiresTls], [false, false])
  const tls = one(
    '- {name: a, kind: mqtt, port: 1, proxyProtocol: {trusted: ["::1"], clientCertificate: true, requireTls: true}}',
  ).proxyProtocol
  assert.deepEqual([tls?.believesCertificate, tls?.requiresTls], [true, true])
  for (const bad of ['10.0.0.0/33', 'balancer', '10.0.0.0/8/8', '/8', '10.0.0.0/']) {
    const loaded = loadConfig(
      `control: {address: "a:1", roots: /r}\nlisteners: [{name: a, kind: tcp, port: 1, cluster: c, proxyProtocol: {trusted: ["${bad}"]}}]`,
    )
    assert.equal(loaded.ok, false, bad)
  }
})
test('mqtt on a Unix socket: its path, its mode, and no port', () => {
  const made = one('- {name: a, kind: mqtt, unix: {path: /run/meshlet/mqtt.sock, mode: "0620"}}')
  assert.deepEqual([made.address, made.port, made.unixMode], ['/run/meshlet/mqtt.sock', 0, 0o620])
})

test('with clientRoots a certificate is needed, unless it is said that it may be left out', () => {
  const ca = testCa()
  const { chainPem, keyPem } = ca.issue('site', 'broker')
  const disk = diskWith({ c: chainPem, k: keyPem, r: ca.rootsPem })
  const needs = (more: string): unknown => {
    const made = one(`- {name: a, kind: mqtt, port: 1, tls: {mode: server, chain: c, key: k${more}}}`, disk)
    made.prepare?.()
    const { tls } = made.defaultFilterChain
    return [tls?.requireClientCertificate, tls?.validation?.roots.from]
  }
  assert.deepEqual(
    [needs(''), needs(', clientRoots: r'), needs(', clientRoots: r, requireClientCertificate: false')],
    [
      [false, undefined],
      [true, 'pem'],
      [false, 'pem'],
    ],
  )
})

test('mode transparent names the cluster of the broker, and only then', () => {
  const codecOf = (more: string): unknown => one(`- {name: a, kind: mqtt, port: 1${more}}`).defaultFilterChain?.codec
  const proxyOf = (more: string): unknown => (codecOf(more) as { readonly proxy?: unknown }).proxy
  assert.equal(proxyOf(''), undefined)
  assert.deepEqual(proxyOf(', mode: transparent, cluster: b'), { cluster: 'b', forwardCredentials: false })
  assert.deepEqual(proxyOf(', mode: transparent, cluster: b, forwardCredentials: true'), {
    cluster: 'b',
    forwardCredentials: true,
  })
  assert.deepEqual(proxyOf(', mode: transparent, cluster: b, sendProxyProtocol: 1'), {
    cluster: 'b',
    forwardCredentials: false,
    sendProxyProtocol: 1,
  })
  for (const [bad, name] of [
    ['mode: transparent', 'cluster'],
    ['cluster: b', 'cluster'],
    ['forwardCredentials: false', 'forwardCredentials'],
    ['sendProxyProtocol: 2', 'sendProxyProtocol'],
    ['mode: transparent, cluster: b, sendProxyProtocol: 3', 'sendProxyProtocol'],
  ] as const) {
    const loaded = loadConfig(
      `control: {address: "a:1", roots: /r}\nlisteners: [{name: a, kind: mqtt, port: 1, ${bad}}]`,
    )
    assert.match(JSON.stringify(loaded), new RegExp(`listeners[^"]*${name}`), bad)
    assert.equal(loaded.ok, false, bad)
  }
})

test('the least version of TLS and the ciphers of a server certificate', () => {
  const of = (more: string): unknown => {
    const { tls } = one(
      `- {name: a, kind: mqtt, port: 1, tls: {mode: server, chain: c, key: k${more}}}`,
    ).defaultFilterChain
    return [tls?.minVersion, tls?.cipherSuites]
  }
  assert.deepEqual(of(''), ['TLSv1.2', []])
  assert.deepEqual(of(', minVersion: TLSv1.3'), ['TLSv1.3', []])
  assert.deepEqual(of(', ciphers: "ECDHE+AESGCM:!aNULL"'), ['TLSv1.2', ['ECDHE+AESGCM:!aNULL']])
  for (const bad of ['minVersion: TLSv1.1', 'ciphers: NO-SUCH', 'ciphers: ""']) {
    const text = `control: {address: "a:1", roots: /r}\nlisteners: [{name: a, kind: mqtt, port: 1, tls: {mode: server, chain: c, key: k, ${bad}}}]`
    assert.equal(loadConfig(text).ok, false, bad)
  }
})

test('clientCrl: what it says is asked of clients, and a file without a list keeps the listener closed', () => {
  const crl = '-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n'
  const text = TLS_ROOTS.replace('clientRoots: /roots', 'clientRoots: /roots, clientCrl: /crl')
  for (const bad of [undefined, '', 'no list', crl])
    assert.throws(() => one(text, diskWith({ ...FILES, ...(bad !== undefined && { '/crl': bad }) })).prepare!(), {
      code: 'MESH_LISTENER_TLS',
    })
})

test('tunnels end on port 15008 of every address, over HTTP/2 and mutual TLS with the mesh identity, and nowhere in clear', () => {
  const { address, port, direction, filterChains, defaultFilterChain } = one('- {name: t, kind: hbone}')
  assert.deepEqual([address, port, direction, filterChains], ['0.0.0.0', 15_008, 'inbound', []])
  const { tls, codec } = defaultFilterChain
  assert.deepEqual(codec, { kind: 'hbone', hbone: { cluster: undefined } })
  assert.deepEqual(
    [tls?.certificate, tls?.validation?.roots, tls?.requireClientCertificate, tls?.alpnProtocols],
    [{ from: 'workload' }, { from: 'workload' }, true, ['h2']],
  )
  const refused = loadConfig(
    'control: {address: "a:1", roots: /r}\nlisteners:\n- {name: t, kind: hbone, tls: {mode: server, chain: /c, key: /k}}\n',
  )
  assert.equal(refused.ok, false)
})
