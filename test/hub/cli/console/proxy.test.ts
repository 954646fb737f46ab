import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { hashPin } from '../../../../core/pki/pin.ts'
import { parseCertificates } from '../../../../core/pki/x509.ts'
import { systemClock } from '../../../../core/os/clock.ts'
import { HubClient } from '../../../../hub/cli/console/client.ts'
import { findProxyFor } from '../../../../hub/cli/console/proxy.ts'
import { readRoots } from '../../../../hub/cli/console/trust.ts'
import { done } from '../../../../hub/console/schemas.ts'
import { readEnvironmentProxy } from '../../../../model/fleet/environment-proxy.ts'
import { testCa } from '../../../helpers/test-ca.ts'

const read = (env: Record<string, string>) => () => readEnvironmentProxy(env)

test('the proxy of the environment is asked, unless NO_PROXY or loopback say otherwise', () => {
  const env = { HTTPS_PROXY: 'http://ann:p%40ss:w@proxy.example:3128', NO_PROXY: '.plant.example, 10.0.0.0/8' }
  const of = (hub: string) => findProxyFor(new URL(hub), read(env)).proxyEnv?.['HTTPS_PROXY']
  assert.equal(of('https://hub.example:8443'), 'http://ann:p%40ss%3Aw@proxy.example:3128/')
  for (const direct of ['https://hub.plant.example', 'https://10.1.2.3:8443', 'https://127.0.0.1:1', 'https://[::1]:1'])
    assert.equal(of(direct), undefined, direct)
  assert.deepEqual(findProxyFor(new URL('https://hub.example'), read({})), {})
  assert.deepEqual(findProxyFor(new URL('https://hub.example'), undefined), {})
  assert.equal(
    findProxyFor(new URL('https://h'), read({ HTTPS_PROXY: '[fd00::1]:8' })).proxyEnv?.['HTTPS_PROXY'],
    'http://[fd00::1]:8/',
  )
})

test('pin and requests reach a hub that only the proxy reaches, which sees neither', async (t) => {
  const { chainPem, keyPem, rootsPem } = testCa().issue('edge', 'hub', { dnsNames: ['hub.example'] })
  const server = https.createServer({ cert: chainPem + rootsPem, key: keyPem }, (_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"detail":"logged out"}'),
  )
  const heads: string[] = []
  const proxy = net.createServer((client) => {
    client.once('data', (head) => {
      heads.push(head.toString('latin1'))
      const upstream = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
      for (const socket of [client, upstream]) socket.on('error', () => socket.destroy())
      client.write('HTTP/1.1 200 Connected\r\n\r\n')
      client.pipe(upstream).pipe(client)
    })
  })
  for (const one of [server, proxy]) {
    one.listen(0, '127.0.0.1')
    await once(one, 'listening')
    t.after(() => one.close())
  }
  const url = new URL('https://hub.example:8443')
  const readProxy = read({ HTTPS_PROXY: `ann:secret@127.0.0.1:${(proxy.address() as AddressInfo).port}` })
  const pin = hashPin(parseCertificates(rootsPem)[0]!)
  const roots = await readRoots(url, { caPin: [pin] }, { clock: systemClock, readProxy })
  assert.equal(roots, parseCertificates(rootsPem).join(''))
  using client = new HubClient({ url, roots, secret: 'x', clock: systemClock, readProxy })
  assert.deepEqual(await client.ask({ path: 'session', answer: done }), { detail: 'logged out' })
  assert.equal(heads.length, 2)
  for (const head of heads) {
    assert.match(head, /^CONNECT hub\.example:8443 HTTP\/1\.1\r\n/)
    assert.match(head, new RegExp(`proxy-authorization: Basic ${Buffer.from('ann:secret').toString('base64')}`, 'i'))
  }
})
