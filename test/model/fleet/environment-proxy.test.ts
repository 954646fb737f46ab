import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readEnvironmentProxy } from '../../../model/fleet/environment-proxy.ts'
import { findOutgoingProxy } from '../../../agent/outgoing-proxy.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { isDirect } from '../../../model/ip.ts'

for (const [value, host, port, credentials] of [
  ['http://proxy.example:3128', 'proxy.example', 3128, undefined],
  ['proxy.example:3128', 'proxy.example', 3128, undefined],
  ['http://proxy.example', 'proxy.example', 80, undefined],
  ['http://proxy.example:80/', 'proxy.example', 80, undefined],
  ['10.0.0.9:8080', '10.0.0.9', 8080, undefined],
  ['http://[fd00::1]:3128', 'fd00::1', 3128, undefined],
  ['http://me:pa%40ss@proxy:3128', 'proxy', 3128, 'me:pa@ss'],
  ['  http://proxy:3128  ', 'proxy', 3128, undefined],
] as const)
  test(`HTTPS_PROXY=${value}`, () => {
    for (const name of ['HTTPS_PROXY', 'https_proxy']) {
      const found = readEnvironmentProxy({ [name]: value })
      assert.deepEqual([found?.address, found?.credentials], [{ host, port }, credentials])
    }
  })

test('without it, or empty, there is none; capitals win', () => {
  for (const env of [{}, { HTTPS_PROXY: '' }, { HTTPS_PROXY: ' ' }, { http_proxy: 'a:1' }, { NO_PROXY: '*' }])
    assert.equal(readEnvironmentProxy(env), undefined)
  assert.equal(readEnvironmentProxy({ https_proxy: 'small:1', HTTPS_PROXY: 'large:1' })?.address.host, 'large')
  assert.equal(readEnvironmentProxy({ https_proxy: 'small:1', HTTPS_PROXY: '' })?.address.host, 'small')
})

for (const [value, reason] of [
  ['https://me:secret@proxy:3128', /HTTPS_PROXY of the environment names a proxy of https:\/\//],
  ['socks5://proxy:1080', /names a proxy of socks5:\/\//],
  ['http://me:secret@:1', /is no URL/],
  ['http://proxy:99999', /is no URL/],
] as const)
  test(`HTTPS_PROXY=${value.replace('secret', '…')} is refused, without its password`, () => {
    assert.throws(
      () => readEnvironmentProxy({ HTTPS_PROXY: value }),
      (err: { code: string; message: string }) =>
        err.code === 'MESH_CONFIG_INVALID' && reason.test(err.message) && !err.message.includes('secret'),
    )
  })

for (const [noProxy, host, port, want] of [
  ['', 'broker.example', 8883, false],
  ['', 'localhost', 1, true],
  ['', '127.0.0.5', 1, true],
  ['', '::1', 1, true],
  ['*', 'broker.example', 8883, true],
  ['a.example,broker.example', 'broker.example', 8883, true],
  ['a.example, broker.example', 'x.broker.example', 8883, true],
  ['a.example broker.example', 'broker.example', 8883, true],
  ['.example', 'broker.example', 8883, true],
  ['ample', 'broker.example', 8883, false],
  ['broker.example:8883', 'broker.example', 8883, true],
  ['broker.example:443', 'broker.example', 8883, false],
  ['10.0.0.0/8,fd00::/8', '10.9.9.9', 1, true],
  ['10.0.0.0/8,fd00::/8', 'fd00::9', 1, true],
  ['10.0.0.0/8,fd00::/8', '11.9.9.9', 1, false],
  ['10.0.0.1', '10.0.0.1', 1, true],
  [',,', 'broker.example', 1, false],
  ['10.0.0.0/99,broker.example', 'broker.example', 1, true],
] as const)
  test(`NO_PROXY=${noProxy}: ${host}:${port} is ${want ? 'direct' : 'through the proxy'}`, () => {
    for (const name of ['NO_PROXY', 'no_proxy']) {
      const found = readEnvironmentProxy({ HTTPS_PROXY: 'proxy:1', [name]: noProxy })
      assert.equal(isDirect(found?.noProxy ?? [], { host, port }), want)
    }
  })

test('a proxy that is this very agent is none', () => {
  const loaded = loadConfig(
    'directory: /d\nlisteners: [{name: p, kind: http_proxy, port: 15080}, {name: t, kind: tcp, cluster: c, port: 15081}]',
  )
  assert.ok(loaded.ok)
  const { config } = loaded
  const found = (HTTPS_PROXY: string): string | undefined =>
    findOutgoingProxy({ config, facts: { readEnvironmentProxy: () => readEnvironmentProxy({ HTTPS_PROXY }) } })?.address
      .host
  assert.deepEqual(['127.0.0.1:15080', 'localhost:15080', '[::1]:15080', '127.0.0.1:15081', 'proxy:15080'].map(found), [
    undefined,
    undefined,
    undefined,
    '127.0.0.1',
    'proxy',
  ])
  assert.equal(findOutgoingProxy({ config, facts: {} }), undefined)
})
