/** A listener with several addresses: each of them serves, and says which one it is. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../../tools/free-ports.ts'
import { Agent, directoryMode, writeResources } from '../../package/shipped.ts'
import { startStaticEnvoy } from '../envoy.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const HOSTS = ['127.0.0.1', '127.0.0.1', '127.0.0.2', '::1'] as const

/** Whoever comes to the third address is refused. */
function listenerOf(ports: readonly number[]): JsonObject {
  const [address, ...additional] = HOSTS.map((host, i) => ({
    socket_address: { address: host, port_value: ports[i]! },
  }))
  const rbac = {
    rules: {
      action: 'DENY',
      policies: { p: { permissions: [{ destination_port: ports[2]! }], principals: [{ any: true }] } },
    },
  }
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 's',
    http_filters: [
      { name: 'rbac', typed_config: { '@type': type('extensions.filters.http.rbac.v3.RBAC'), ...rbac } },
      { name: 'router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
    ],
    route_config: {
      name: 'r',
      response_headers_to_add: [{ header: { key: 'x-local', value: '%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%' } }],
      virtual_hosts: [
        { name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 204 } }] },
      ],
    },
  }
  return {
    '@type': type('config.listener.v3.Listener'),
    name: 'l',
    traffic_direction: 'INBOUND',
    address: address!,
    additional_addresses: additional.map((one) => ({ address: one })),
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: manager }] }],
  }
}

test('each address serves, policies and fields see the one that was asked', async (t) => {
  const ports = await freePorts(2 * HOSTS.length)
  const of = { ours: ports.slice(HOSTS.length), theirs: ports.slice(0, HOSTS.length) }
  const agent = await Agent.create(t, (home, admin) => directoryMode(home, admin, 'log: {level: error}\n'))
  writeResources(agent.folder, [listenerOf(of.ours)])
  await agent.start()
  await startStaticEnvoy(t, { listeners: [listenerOf(of.theirs)], clusters: [] }, of.theirs[0]!)
  const ask = async (side: keyof typeof of): Promise<unknown[]> => {
    const told: unknown[] = []
    for (const [i, host] of HOSTS.entries()) {
      const authority = `${host.includes(':') ? `[${host}]` : host}:${of[side][i]!}`
      const answer = await fetch(`http://${authority}/`)
      told.push([answer.status, answer.headers.get('x-local'), await answer.text()])
    }
    return told
  }
  const theirs = await ask('theirs')
  assert.deepEqual(theirs[0], [204, '127.0.0.1', ''])
  assert.deepEqual(await ask('ours'), theirs)
})
