import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Listener } from '../../../../model/listener.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { STRUCT, tcp, listenerBytes, good, issues, codec } from './listener-rig.ts'

test('ipv4_compat of an address is acted upon', () => {
  const of = (ipv4_compat: boolean): unknown => {
    const { value, ignored } = good(
      { address: { socket_address: { address: '::', port_value: 80, ipv4_compat } } },
      { filters: [tcp] },
    )
    return [value.address, value.ipv4Compat, ignored]
  }
  assert.deepEqual(
    [of(true), of(false)],
    [
      ['::', true, []],
      ['::', undefined, []],
    ],
  )
})
test('additional_addresses are acted upon, and one that is none blocks the listener on the others', () => {
  const at = (address: string, more: JsonObject = {}): JsonObject => ({
    address: { socket_address: { address, port_value: 80, ...more } },
  })
  const { value, ignored } = good(
    { additional_addresses: [at('::', { ipv4_compat: true }), at('10.0.0.1')] },
    { filters: [tcp] },
  )
  assert.deepEqual(
    [value.additional, ignored],
    [
      [
        { address: '::', port: 80, ipv4Compat: true },
        { address: '10.0.0.1', port: 80 },
      ],
      [],
    ],
  )
  const bad = decode(
    'listener',
    listenerBytes({ additional_addresses: [at('::', { protocol: 'UDP' }), at('10.0.0.1')] }, { filters: [tcp] }),
  )
  assert.ok(bad.ok)
  assert.deepEqual(
    [bad.value.additional, bad.value.defaultFilterChain?.codec.kind],
    [[{ address: '10.0.0.1', port: 80 }], 'blocked'],
  )
})
test('a listener that cannot be taken refuses everybody on its address; one without an address opens no port', () => {
  const blocked = (more: JsonObject): Listener => {
    const d = decode('listener', listenerBytes(more, { filters: [tcp] }))
    assert.ok(d.ok && d.blocked.length > 0)
    return d.value
  }
  const late = blocked({ listener_filters_timeout: '-1s' })
  assert.deepEqual(
    [late.address, late.port, late.bindToPort, late.filterChains, late.defaultFilterChain?.codec.kind],
    ['0.0.0.0', 80, true, [], 'blocked'],
  )
  assert.deepEqual(
    [blocked({ address: { pipe: { path: '/x' } } })].map((l) => [l.bindToPort, l.defaultFilterChain?.codec.kind]),
    [[false, 'blocked']],
  )
})
test('meshlet.mqtt_proxy carries the mqtt section of agent.yaml', () => {
  const filter = {
    name: 'meshlet.mqtt_proxy',
    typed_config: {
      '@type': STRUCT,
      type_url: 'meshlet/mqtt',
      value: { transport: 'websocket', routes: [{ match: 'a/#', direction: 'up', cluster: 'broker' }] },
    },
  }
  const made = codec(good({}, { filters: [filter] }).value)
  assert.ok(made.kind === 'mqtt')
  assert.deepEqual(
    [made.transport, made.mqtt.routes[0]!.cluster, made.mqtt.spool.profile],
    ['websocket', 'broker', 'strict'],
  )
})
test('a pushed mqtt listener may be transparent, and gives no passwords of this node to its broker', () => {
  const filter = (value: JsonObject): JsonObject => ({
    name: 'meshlet.mqtt_proxy',
    typed_config: { '@type': STRUCT, type_url: 'meshlet/mqtt', value },
  })
  const made = codec(
    good({}, { filters: [filter({ mode: 'transparent', cluster: 'broker', transport: 'auto' })] }).value,
  )
  assert.ok(made.kind === 'mqtt')
  assert.deepEqual([made.transport, made.proxy], ['auto', { cluster: 'broker', forwardCredentials: false }])
  const telling = codec(
    good({}, { filters: [filter({ mode: 'transparent', cluster: 'broker', sendProxyProtocol: 2 })] }).value,
  )
  assert.ok(telling.kind === 'mqtt')
  assert.equal(telling.proxy?.sendProxyProtocol, 2)
  for (const [value, place] of [
    [{ mode: 'transparent' }, 'cluster'],
    [{ cluster: 'broker' }, 'cluster'],
    [{ mode: 'other', cluster: 'broker' }, 'mode'],
    [{ mode: 'transparent', cluster: 'broker', forwardCredentials: true }, 'forwardCredentials'],
    [{ transport: 'udp' }, 'transport'],
    [{ sendProxyProtocol: 2 }, 'sendProxyProtocol'],
    [{ mode: 'transparent', cluster: 'broker', sendProxyProtocol: 3 }, 'sendProxyProtocol'],
    [{ mode: 'transparent', cluster: 'broker', listener: { topicPrefix: 'a/' } }, 'listener.topicPrefix'],
  ] as const)
    assert.deepEqual(
      issues({}, { filters: [filter(value)] }).map((one) => one.slice(0, one.indexOf(':'))),
      [`filter_chains[0].filters[0].typed_config.value.${place}`],
    )
})
test('a pushed mqtt policy names no file of the machine', () => {
  const filter = { name: 'meshlet.mqtt_proxy', typed_config: { '@type': STRUCT, value: { aclFile: '/etc/shadow' } } }
  assert.deepEqual(
    issues({}, { filters: [filter] }).map((one) => one.slice(0, one.indexOf(':'))),
    ['filter_chains[0].filters[0].typed_config.value.aclFile'],
  )
})
test('a pushed mqtt policy gives no secret of the machine to a broker', () => {
  for (const [name, secret] of Object.entries({
    credentials: { passwordFile: '/etc/shadow' },
    psk: { identity: 'i', keyFile: '/etc/shadow' },
    httpProxy: { host: 'h', port: 1, credentialsFile: '/etc/shadow' },
  })) {
    const bridges = [{ cluster: 'a' }, { cluster: 'evil', [name]: secret }]
    const filter = { name: 'meshlet.mqtt_proxy', typed_config: { '@type': STRUCT, value: { bridges } } }
    assert.deepEqual(
      issues({}, { filters: [filter] }).map((one) => one.slice(0, one.indexOf(':'))),
      [`filter_chains[0].filters[0].typed_config.value.bridges[1].${name}`],
    )
  }
})
test('a mistake in the mqtt policy is named by its field', () => {
  const filter = {
    name: 'meshlet.mqtt_proxy',
    typed_config: { '@type': STRUCT, value: { routes: [{ match: 'a/#', direction: 'sideways', cluster: 'b' }] } },
  }
  assert.match(
    issues({}, { filters: [filter] })[0]!,
    /^filter_chains\[0\]\.filters\[0\]\.typed_config\.value\.routes\[0\]\.direction: /,
  )
})
