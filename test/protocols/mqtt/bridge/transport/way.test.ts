import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import { systemClock } from '../../../../../core/os/clock.ts'
import { bridge } from '../../../../../model/mqtt/bridge.ts'
import { describeWay, openStream } from '../../../../../protocols/mqtt/bridge/transport/way.ts'
import type { UpstreamStream } from '../../../../../protocols/upstream-api.ts'

type Input = Parameters<ReturnType<typeof bridge>['parse']>[0]
const planOf = (settings: object) => ({ settings: bridge().parse({ cluster: 'c', ...settings } as Input) })
const KEY = '00112233445566778899aabbccddeeff'
const psk = { identity: 'site-7', keyFile: '/key' }

test('a PROXY header names this agent, where the settings say so', () => {
  const sources = { readFile: undefined, readEnvironmentProxy: () => undefined }
  const ends = { local: { host: '10.0.0.2', port: 5 }, remote: { host: '10.0.0.1', port: 1883 } }
  const header = describeWay(planOf({ sendProxyProtocol: 1 }), sources).makeHeader?.(ends)
  assert.equal(Buffer.from(header!).toString(), 'PROXY TCP4 10.0.0.2 10.0.0.1 5 1883\r\n')
  assert.equal(describeWay(planOf({}), sources).makeHeader, undefined)
})

async function opened(t: TestContext, text: string): Promise<{ said: string; raw: net.Socket }> {
  const server = tls.createServer({
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2',
    pskCallback: (_socket, identity) => (identity === 'site-7' ? Buffer.from(KEY, 'hex') : null),
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const said = once(server, 'secureConnection').then(async ([socket]) => await once(socket as tls.TLSSocket, 'data'))
  const raw = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  raw.on('error', () => {})
  t.after(() => {
    raw.destroy()
    server.close()
  })
  await once(raw, 'connect')
  const upstream = { stream: raw, endpoint: { address: '127.0.0.1', port: 1 } } as unknown as UpstreamStream
  const o = { clock: systemClock, signal: new AbortController().signal, maxPacketBytes: 100 }
  try {
    const stream = await openStream(upstream, planOf({ psk }), { readFile: () => text }, o)
    stream.write('MQTT')
  } catch (thrown) {
    assert.equal(raw.destroyed, true, 'nothing goes without it')
    throw thrown
  }
  return { said: String((await said)[0]), raw }
}

test('a pre-shared key: the file holds it in hexadecimal, with the line’s end of an editor', async (t) => {
  assert.equal((await opened(t, `${KEY.toUpperCase()}\n`)).said, 'MQTT')
})
for (const text of ['', 'not hexadecimal', KEY.slice(1), 'ab'.repeat(513)])
  test(`a pre-shared key that is none ends the connection: ${text.slice(0, 20)}`, async (t) => {
    await assert.rejects(opened(t, text), { code: 'MESH_MQTT_CREDENTIALS' })
  })
test('another key is refused by the handshake', async (t) => {
  await assert.rejects(opened(t, 'ff'.repeat(16)), { code: 'MESH_UPSTREAM_TLS' })
})
