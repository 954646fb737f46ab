/** Envoy and the shipped bundle with the same routes: which requests are mirrored, and what the copies are like. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../tools/free-ports.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { askAt, type Ask } from '../../protocols/http/both.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../package/shipped.ts'
import type { Finally } from '../programs.ts'
import { startStaticEnvoy } from './envoy.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const NEVER = { default_value: { numerator: 0 } }
/** `copies`: how many of its request; default 1. */
type Row = {
  readonly route?: JsonObject
  readonly host?: JsonObject
  readonly more?: JsonObject
  readonly ask?: Ask
  readonly copies?: number
}
/** By authority. */
const ROWS: Readonly<Record<string, Row>> = {
  'plain.test': { route: { request_mirror_policies: [{ cluster: 'shadow' }] } },
  'body.test': {
    route: { request_mirror_policies: [{ cluster: 'shadow' }] },
    ask: { method: 'POST', path: '/p?q=1', body: 'hello', fields: [['x-a', '1']] },
  },
  'port.test:8080': { route: { request_mirror_policies: [{ cluster: 'shadow' }] } },
  'kept.test': { route: { request_mirror_policies: [{ cluster: 'shadow', disable_shadow_host_suffix_append: true }] } },
  'never.test': { copies: 0, route: { request_mirror_policies: [{ cluster: 'shadow', runtime_fraction: NEVER }] } },
  'host.test': { host: { request_mirror_policies: [{ cluster: 'shadow' }] } },
  'nearer.test': {
    copies: 0,
    host: { request_mirror_policies: [{ cluster: 'shadow' }] },
    route: { request_mirror_policies: [{ cluster: 'shadow', runtime_fraction: NEVER }] },
  },
  'header.test': {
    route: { request_mirror_policies: [{ cluster_header: 'x-to' }] },
    ask: { fields: [['x-to', 'shadow']] },
  },
  'header-none.test': { copies: 0, route: { request_mirror_policies: [{ cluster_header: 'x-to' }] } },
  'header-unknown.test': {
    copies: 0,
    route: { request_mirror_policies: [{ cluster_header: 'x-to' }] },
    ask: { fields: [['x-to', 'gone']] },
  },
  'rewritten.test': {
    route: {
      request_mirror_policies: [{ cluster: 'shadow' }],
      prefix_rewrite: '/z',
      host_rewrite_literal: 'other.test',
    },
    more: { request_headers_to_add: [{ header: { key: 'x-a', value: 'added' } }] },
  },
  'twice.test': { copies: 2, route: { request_mirror_policies: [{ cluster: 'shadow' }, { cluster: 'shadow' }] } },
}
const COPIES = Object.values(ROWS).reduce((sum, { copies = 1 }) => sum + copies, 0)

function listenerOf(port: number): JsonObject {
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 's',
    route_config: {
      name: 'r',
      virtual_hosts: Object.entries(ROWS).map(([name, { route = {}, host = {}, more = {} }]) => ({
        name,
        domains: [name],
        routes: [{ match: { prefix: '/' }, route: { cluster: 'origin', ...route }, ...more }],
        ...host,
      })),
    },
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
      },
    ],
  }
  return {
    '@type': type('config.listener.v3.Listener'),
    name: `l${port}`,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
  }
}

class Shadow {
  readonly #seen: string[] = []
  #wake = (): void => {}
  port = 0

  static async start(t: Finally): Promise<Shadow> {
    const shadow = new Shadow()
    shadow.port = await serveHttp(t, (request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      request.on('end', () => {
        const { method, url, headers } = request
        response.end()
        shadow.#seen.push([method, url, headers.host, headers['x-a'], body].join(' '))
        shadow.#wake()
      })
    })
    return shadow
  }
  /** The next copies, sorted: they come in any order. */
  async take(count: number): Promise<string[]> {
    while (this.#seen.length < count)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    return this.#seen.splice(0).sort()
  }
}

test('the same requests are mirrored, with the same host, path, fields and body', { timeout: 60_000 }, async (t) => {
  const origin = staticCluster('origin', await serveHttp(t, (_, response) => response.end('hi')))
  const [theirs, ours] = [await Shadow.start(t), await Shadow.start(t)]
  const ports = (await freePorts(2)) as [number, number]
  const agent = await Agent.create(t, (folder, admin) => directoryMode(folder, admin, 'log: {level: error}\n'))
  writeResources(agent.folder, [origin, staticCluster('shadow', ours.port), listenerOf(ports[1])])
  await agent.start()
  const clusters = [origin, staticCluster('shadow', theirs.port)]
  await startStaticEnvoy(t, { listeners: [listenerOf(ports[0])], clusters }, ports[0])
  for (const codec of ['http1', 'http2'] as const) {
    for (const port of ports)
      for (const [authority, { ask = {} }] of Object.entries(ROWS)) {
        const { status } = await askAt(port, codec, { ...ask, authority })
        assert.equal(status, 200)
      }
    assert.deepEqual(await ours.take(COPIES), await theirs.take(COPIES), codec)
  }
})
