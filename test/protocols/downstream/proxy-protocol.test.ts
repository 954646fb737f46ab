import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import { parseRange } from '../../../model/ip.ts'
import type { Listener, ProxyProtocol } from '../../../model/listener.ts'
import { keepTlvs, parseProxyHeader } from '../../../protocols/downstream/proxy-protocol.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { failures, listener, rig, tables, tcpChain } from './data-path-rig.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const v2 = (hex: string): Buffer => Buffer.from(SIGNATURE + hex.replaceAll(' ', ''), 'hex')
const V4 = '21 11 000c c0000201 0a000001 d431 075b'
const V6 = '21 21 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 d431 075b'

for (const { name, bytes, source } of [
  {
    name: 'TCP4',
    bytes: Buffer.from('PROXY TCP4 192.0.2.1 10.0.0.1 54321 1883\r\n'),
    source: { host: '192.0.2.1', port: 54_321 },
  },
  {
    name: 'TCP6',
    bytes: Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 54321 1883\r\n'),
    source: { host: '2001:db8::7', port: 54_321 },
  },
  {
    name: 'TCP6, IPv4 in hexadecimal groups',
    bytes: Buffer.from('PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n'),
    source: { host: '192.0.2.1', port: 1 },
  },
  { name: 'UNKNOWN', bytes: Buffer.from('PROXY UNKNOWN\r\n'), source: undefined },
  { name: 'UNKNOWN with addresses', bytes: Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), source: undefined },
  { name: 'version 2, IPv4', bytes: v2(V4), source: { host: '192.0.2.1', port: 54_321 } },
  { name: 'version 2, IPv6', bytes: v2(V6), source: { host: '2001:db8::7', port: 54_321 } },
  {
    name: 'version 2, IPv4 in IPv6',
    bytes: v2('21 21 0024 00000000000000000000ffffc0000201 00000000000000000000ffff0a000001 d431 075b'),
    source: { host: '192.0.2.1', port: 54_321 },
  },
  { name: 'version 2, LOCAL', bytes: v2('20 00 0000'), source: undefined },
  { name: 'version 2, a Unix socket', bytes: v2(`21 31 00d8 ${'00'.repeat(216)}`), source: undefined },
])
  test(`${name}: whole, followed by something, and cut anywhere`, () => {
    const read = (from: Buffer): unknown => {
      const found = parseProxyHeader(from)
      return typeof found === 'object' && 'bytes' in found ? [found.source, found.bytes] : found
    }
    assert.deepEqual(read(bytes), [source, bytes.length])
    assert.deepEqual(read(Buffer.concat([bytes, Buffer.from('PROXY ')])), [source, bytes.length])
    for (let cut = 0; cut < bytes.length; cut++)
      assert.equal(parseProxyHeader(bytes.subarray(0, cut)), 'more', `cut at ${cut}`)
  })

/** TLVs of version 2 over IPv4. */
const tlv = (type: string, hex: string): string => {
  const value = hex.replaceAll(' ', '')
  return type + (value.length / 2).toString(16).padStart(4, '0') + value
}
const withTlvs = (...tlvs: string[]): Buffer => {
  const all = `c0000201 0a000001 d431 075b ${tlvs.join('')}`.replaceAll(' ', '')
  return v2(`21 11 ${(all.length / 2).toString(16).padStart(4, '0')} ${all}`)
}
const hex = (text: string): string => Buffer.from(text).toString('hex')
test('TLVs are told in their order, and what the listener keeps is a copy', () => {
  const bytes = withTlvs(tlv('ea', hex('vpce')), tlv('04', '00'), tlv('ea', hex('more')))
  const found = parseProxyHeader(bytes)
  assert.ok(typeof found === 'object' && 'tlvs' in found && found.tlvs)
  assert.deepEqual(
    found.tlvs.map((t) => [t.type, Buffer.from(t.value).toString()]),
    [
      [0xea, 'vpce'],
      [4, '\0'],
      [0xea, 'more'],
    ],
  )
  const rules = [{ type: 0xea, filter: 'f', key: 'k' }]
  const kept = keepTlvs(found.tlvs, { keeps: new Set([0xea]), rules })
  bytes.fill(0)
  assert.deepEqual(
    kept.tlvs?.map((t) => Buffer.from(t.value).toString()),
    ['vpce', 'more'],
  )
  assert.deepEqual(kept.metadata, { f: { k: 'more' } })
  assert.equal(keepTlvs(found.tlvs, { keeps: 'all' }).tlvs?.length, 3)
  assert.deepEqual(keepTlvs(found.tlvs, {}), {})
  assert.deepEqual(keepTlvs([], { rules }), { metadata: {} }, 'policies are told that there is none')
})
const CN = tlv('22', hex('pump'))
test('what a balancer says of TLS: a common name counts of a certificate that it has verified, and once', () => {
  for (const [what, tlvs, tls] of [
    ['nothing', [], undefined],
    ['other things', [tlv('02', hex('mqtt.example')), tlv('04', '00'), tlv('03', 'a1b2c3d4')], undefined],
    ['no TLS', [tlv('20', `00 00000000${CN}`)], undefined],
    ['TLS, no certificate', [tlv('20', `01 00000000${tlv('21', hex('TLSv1.3'))}`)], { commonName: undefined }],
    ['a name without a certificate', [tlv('20', `01 00000000${CN}`)], { commonName: undefined }],
    ['on this connection', [tlv('20', `03 00000000${CN}`)], { commonName: 'pump' }],
    ['in this session', [tlv('01', hex('mqtt')), tlv('20', `05 00000000${CN}`)], { commonName: 'pump' }],
    ['not verified', [tlv('20', `07 00000001${CN}`)], { commonName: undefined }],
    ['two names', [tlv('20', `07 00000000${CN}${CN}`)], { commonName: undefined }],
    ['no UTF-8', [tlv('20', `07 00000000${tlv('22', 'ff')}`)], { commonName: undefined }],
    ['a name that is cut', [tlv('20', '07 00000000 22 0005 70')], { commonName: undefined }],
    ['too short to say anything', [tlv('20', '07 0000')], undefined],
  ] as const) {
    const found = parseProxyHeader(withTlvs(...tlvs))
    assert.deepEqual(typeof found === 'object' && 'tls' in found ? found.tls : undefined, tls, what)
  }
})

for (const [name, bytes] of [
  ['a TLV that leads out', withTlvs('20 0009 01')],
  ['a TLV without a length', withTlvs('20 00')],
  ['two of TLS', withTlvs(tlv('20', '07 00000000'), tlv('20', '07 00000000'))],
  ['no header', Buffer.from('\x10\x0c\x00\x04MQTT')],
  ['TLS', Buffer.from('16030100', 'hex')],
  ['another method', Buffer.from('PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n')],
  ['an address of the other family', Buffer.from('PROXY TCP4 ::1 ::1 1 2\r\n')],
  ['a name', Buffer.from('PROXY TCP4 localhost 1.2.3.4 1 2\r\n')],
  ['a port that is none', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n')],
  ['a port with a zero in front', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n')],
  ['a field too many', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n')],
  ['an endless line', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`)],
  ['version 3', v2('31 11 000c c0000201 0a000001 d431 075b')],
  ['a command that is none', v2('22 11 000c c0000201 0a000001 d431 075b')],
  ['addresses cut off', v2('21 11 000b c0000201 0a000001 d431 07')],
  ['a length beyond all measure', v2('21 11 ffff')],
] as const)
  test(`refused: ${name}`, () => assert.ok('problem' in (parseProxyHeader(bytes) as object)))

/** Random bytes behind each beginning: an answer, never an exception. */
test('whatever follows a beginning gets an answer', () => {
  for (let i = 0; i < 2_000; i++) {
    const rest = Buffer.from(Array.from({ length: i % 40 }, (_, j) => (i * 31 + j * 17) % 256))
    for (const start of [Buffer.from('PROXY TCP4 '), v2(''), v2('21'), v2('2111'), Buffer.alloc(0)])
      assert.ok(parseProxyHeader(Buffer.concat([start, rest])))
  }
})

const BALANCER = '10.0.0.99'
const behind = (over: Partial<Listener> = {}): Listener =>
  listener([tcpChain()], {
    proxyProtocol: { trusted: [parseRange('10.0.0.96/28')!], isOptional: false, disallowedVersions: [] },
    ...over,
  })
/** As the listener filter of a control plane has it. */
const pushed = (over: Partial<ProxyProtocol> = {}, sniff: Partial<Listener['sniff']> = {}): Listener => {
  const made = listener([tcpChain()])
  return {
    ...made,
    sniff: { ...made.sniff, ...sniff },
    proxyProtocol: { trusted: undefined, isOptional: false, disallowedVersions: [], ...over },
  }
}
const HEADER = 'PROXY TCP4 192.0.2.1 10.0.0.1 54321 1883\r\n'

test('the connection is that of the client which the balancer names, and what follows the header is untouched', async () => {
  const r = await rig(tables(behind()))
  const stream = await r.dial(BALANCER)
  for (const byte of HEADER) stream.write(byte)
  stream.write('hello')
  await settle()
  const { conn } = r.served[0]!
  assert.deepEqual(conn.remote, { host: '192.0.2.1', port: 54_321 })
  assert.equal(conn.local.port, 7000)
})
test('who is no balancer does not come in, whatever it sends, and a balancer not without a header', async () => {
  const r = await rig(tables(behind()))
  const liar = await r.dial('10.0.0.5')
  liar.write(HEADER)
  await settle()
  assert.ok(liar.destroyed)
  const bare = await r.dial(BALANCER)
  bare.write('hello')
  await settle()
  assert.ok(bare.destroyed)
  assert.deepEqual([r.served.length, failures(r, 'MESH_PROXY_HEADER')], [0, 2])
})
test('the certificate that the balancer names counts only where the listener says so; TLS may be required', async () => {
  const pump = withTlvs(tlv('20', `03 00000000${CN}`))
  for (const [over, bytes, proxied] of [
    [{}, pump, undefined],
    [{ believesCertificate: true }, pump, { commonName: 'pump' }],
    [{ believesCertificate: true }, Buffer.from(HEADER), { commonName: undefined }],
    [{ requiresTls: true }, pump, undefined],
    [{ requiresTls: true }, Buffer.from(HEADER), 'refused'],
    [{ requiresTls: true }, v2('20 00 0000'), 'refused'],
  ] as const) {
    const r = await rig(tables(pushed(over)))
    const stream = await r.dial(BALANCER)
    stream.write(bytes)
    stream.write('hello')
    await settle()
    if (proxied === 'refused') assert.deepEqual([stream.destroyed, failures(r, 'MESH_PROXY_HEADER')], [true, 1])
    else assert.deepEqual(r.served[0]!.conn.proxied, proxied)
  }
})
test('who sends nothing is waited for as long as for anybody, a port check is no failure', async () => {
  const r = await rig(tables(behind()), { requestHeadMs: 5_000 })
  const silent = await r.dial(BALANCER)
  const check = await r.dial(BALANCER)
  check.end()
  await r.clock.advance(4_999)
  assert.equal(silent.destroyed, false)
  await r.clock.advance(1)
  assert.deepEqual([silent.destroyed, failures(r, 'MESH_SNIFF_TIMEOUT'), failures(r, 'MESH_CLIENT_GONE')], [true, 1, 0])
})
test('limits per source are those of the clients, not of the balancer', async () => {
  const r = await rig(tables(behind()), { maxConnectionsPerSource: 2 })
  for (const client of ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.3']) {
    const stream = await r.dial(BALANCER)
    stream.write(HEADER.replace('192.0.2.1', client))
    await settle()
  }
  assert.deepEqual([r.served.length, failures(r, 'MESH_LISTENER_FULL')], [4, 1])
  for (const { conn } of r.served) conn.stream.destroy()
  await settle()
  const again = await r.dial(BALANCER)
  again.write(HEADER)
  await settle()
  assert.equal(r.served.length, 5, 'what was counted was given back')
})

test('transport auto: a request line is WebSocket, everything else is for MQTT to answer', async () => {
  const codec = { kind: 'mqtt', mqtt: createMqttPolicySchema().parse({}), transport: 'auto' } as const
  const r = await rig(tables(listener([tcpChain({ codec })])))
  for (const first of ['GET /mqtt HTTP/1.1\r\n', '\x10\x0c\x00\x04MQTT\x05\x02\x00\x00', 'nonsense that is nothing']) {
    const stream = await r.dial()
    stream.write(Buffer.from(first, 'latin1'))
    await settle()
  }
  assert.deepEqual(r.transports, ['websocket', 'tcp', 'tcp'])
  const split = await r.dial()
  for (const byte of 'GET / HTTP/1.1\r\n') {
    split.write(byte)
    await settle()
  }
  assert.deepEqual(r.transports.slice(3), ['websocket'])
})

test('of a pushed listener whoever connects is believed', async () => {
  const r = await rig(tables(pushed()))
  const stream = await r.dial('203.0.113.9')
  stream.write(HEADER)
  await settle()
  assert.deepEqual(r.served[0]!.conn.remote, { host: '192.0.2.1', port: 54_321 })
  const bare = await r.dial('203.0.113.9')
  bare.write('hello')
  await settle()
  assert.ok(bare.destroyed)
})
test('allow_requests_without_proxy_protocol: who sends none is who it is, with every byte; who begins one has to end it', async () => {
  const r = await rig(tables(pushed({ isOptional: true })), { maxConnectionsPerSource: 3 })
  const said: string[] = []
  for (const first of ['hello', 'PROXXY', HEADER + 'hello']) {
    const stream = await r.dial('10.0.0.5')
    for (const byte of first) stream.write(byte)
    await settle()
    const { conn } = r.served.at(-1)!
    said.push(`${conn.remote.host}`)
  }
  assert.deepEqual(said, ['10.0.0.5', '10.0.0.5', '192.0.2.1'])
  const broken = await r.dial('10.0.0.5')
  broken.write('PROXY TCP4 nonsense\r\n')
  await settle()
  assert.deepEqual([broken.destroyed, failures(r, 'MESH_PROXY_HEADER')], [true, 1])
  const [third, fourth] = [await r.dial('10.0.0.5'), await r.dial('10.0.0.5')]
  for (const stream of [third, fourth]) stream.write('hello')
  await settle()
  assert.equal(failures(r, 'MESH_LISTENER_FULL'), 1, 'it counts as what it is')
})
test('disallowed_versions: refused; where a header is optional they are the words of the client', () => {
  const [one, two] = [Buffer.from(HEADER), v2(V4)]
  for (const [bytes, version, other] of [
    [one, 1, two],
    [two, 2, one],
  ] as const) {
    const rules = { isOptional: false, disallowedVersions: [version] }
    assert.deepEqual(parseProxyHeader(bytes, rules), {
      problem: `a PROXY header of version ${version} is not taken here`,
    })
    assert.ok('source' in (parseProxyHeader(other, rules) as object))
    assert.deepEqual(parseProxyHeader(bytes, { ...rules, isOptional: true }), { source: undefined, bytes: 0 })
  }
  assert.equal(parseProxyHeader(one.subarray(0, 3), { isOptional: true, disallowedVersions: [2] }), 'more')
})
test('listener_filters_timeout is its time, and to go on afterwards is for those who said nothing alone', async () => {
  for (const [isOptional, onTimeout, begin, isServed] of [
    [false, 'continue', '', false],
    [true, 'close', '', false],
    [true, 'continue', 'PROX', false],
    [true, 'continue', '', true],
  ] as const) {
    const r = await rig(tables(pushed({ isOptional }, { timeoutMs: 700, onTimeout })))
    const stream = await r.dial('10.0.0.5')
    stream.write(begin)
    await r.clock.advance(699)
    assert.deepEqual([stream.destroyed, r.served.length], [false, 0])
    await r.clock.advance(1)
    await settle()
    assert.deepEqual([stream.destroyed, r.served.length], [!isServed, isServed ? 1 : 0])
  }
})
test('filter_disabled: on the ports that it names there is no header, and the source is counted', async () => {
  const r = await rig(tables(pushed({ off: { kind: 'destination-port', from: 7000, to: 7000 } })), {
    maxConnectionsPerSource: 1,
  })
  const stream = await r.dial('10.0.0.5')
  stream.write(HEADER)
  await settle()
  assert.equal(r.served[0]!.conn.remote.host, '10.0.0.5')
  await r.dial('10.0.0.5')
  assert.equal(failures(r, 'MESH_LISTENER_FULL'), 1)
})
