/** The bytes that a connection to an endpoint begins with, where it is to be told who comes. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import { once } from 'node:events'
import type { JsonObject } from '@bufbuild/protobuf'
import { clusterTo, httpTo, startBoth, tcpTo, type } from './both.ts'

const told = (config: JsonObject): JsonObject => ({
  transport_socket: {
    name: 'p',
    typed_config: {
      '@type': type('extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport'),
      config,
      transport_socket: {
        name: 'r',
        typed_config: { '@type': type('extensions.transport_sockets.raw_buffer.v3.RawBuffer') },
      },
    },
  },
})
const ADDED = [
  { type: 240, value: Buffer.from('site').toString('base64') },
  { type: 240, value: Buffer.from('twice').toString('base64') },
]
const CONFIGS: Readonly<Record<string, JsonObject>> = {
  v1: { version: 'V1' },
  v2: { version: 'V2' },
  added: { version: 'V2', added_tlvs: ADDED },
  all: { version: 'V2', pass_through_tlvs: { match_type: 'INCLUDE_ALL' }, added_tlvs: ADDED },
  some: { version: 'V2', pass_through_tlvs: { match_type: 'INCLUDE', tlv_type: [234] } },
}
const LISTENER: JsonObject = {
  listener_filters: [
    {
      name: 'envoy.filters.listener.proxy_protocol',
      typed_config: {
        '@type': type('extensions.filters.listener.proxy_protocol.v3.ProxyProtocol'),
        allow_requests_without_proxy_protocol: true,
        pass_through_tlvs: { match_type: 'INCLUDE_ALL' },
      },
    },
  ],
}
const REQUEST = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
const HEAD = '0d0a0d0a000d0a515549540a'
const IN_V2 = Buffer.from(
  `${HEAD}21110019c0000201 0a000001 d431 075b ea0004 76706365 050003 616263 `.replaceAll(' ', ''),
  'hex',
)
const IN_V1 = Buffer.from('PROXY TCP4 192.0.2.1 10.0.0.1 54321 1883\r\n')

test('headers are the same, byte by byte', { timeout: 120_000 }, async (t) => {
  let seen: Buffer = Buffer.alloc(0)
  const endpoint = net.createServer((socket) => {
    seen = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk])
      if (seen.includes(REQUEST.slice(0, 16))) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    })
  })
  endpoint.listen(0, '127.0.0.1')
  await once(endpoint, 'listening')
  t.after(() => void endpoint.close())
  const { port } = endpoint.address() as net.AddressInfo
  const names = Object.keys(CONFIGS)
  const ports = await startBoth(
    t,
    names.map((name) => clusterTo(name, [['127.0.0.1', port]], told(CONFIGS[name]!))),
    Object.fromEntries(
      names.flatMap((name) => [
        [`${name}-tcp`, tcpTo(name)],
        [`${name}-http`, httpTo(name)],
      ]),
    ),
    { listener: LISTENER },
  )
  /** What the endpoint got before the request. */
  const ask = async (to: number, begin: Buffer): Promise<string> => {
    const socket = net.connect({ port: to, host: '127.0.0.1', localAddress: '127.0.7.7' })
    socket.on('error', () => {})
    socket.resume()
    socket.write(Buffer.concat([begin, Buffer.from(REQUEST)]))
    await once(socket, 'close')
    const bytes = seen.subarray(0, seen.indexOf('GET / '))
    // The client's own port and the listener's differ; they are told where nothing else is.
    return begin.length > 0 ? bytes.toString('hex') : bytes.toString('latin1').replaceAll(/ \d+ \d+\r/g, ' PORTS\r')
  }
  for (const name of Object.keys(ports))
    for (const [what, begin] of Object.entries({ 'version 2 with TLVs': IN_V2, 'version 1': IN_V1 }))
      await t.test(`${name}, the client says ${what}`, async () => {
        const their = await ask(ports[name]!.theirs, begin)
        assert.ok(their.length > 0)
        assert.equal(await ask(ports[name]!.ours, begin), their)
      })
  for (const name of ['v1-tcp', 'v1-http'])
    await t.test(`${name}, the client says nothing`, async () => {
      const their = await ask(ports[name]!.theirs, Buffer.alloc(0))
      assert.match(their, /^PROXY TCP4 127\.0\.7\.7 127\.0\.0\.1 PORTS\r\n$/)
      assert.equal(await ask(ports[name]!.ours, Buffer.alloc(0)), their)
    })
})
