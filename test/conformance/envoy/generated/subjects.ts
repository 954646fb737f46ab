/** Envoy and the shipped bundle with the same listeners, in front of one endpoint that says what it saw. */
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../../tools/free-ports.ts'
import { serveHttp } from '../../../helpers/serve-http.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../../package/shipped.ts'
import type { Finally } from '../../programs.ts'
import { startStaticEnvoy } from '../envoy.ts'
import type { Configuration } from './routes.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`

const ADDED_BY_ENDPOINT = { 'r-a': '1', 'r-b': ['1', '2'], server: 'origin' }

function listenerOf({ manager, filters, table }: Configuration, name: string, port: number): JsonObject {
  const http = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 's',
    ...manager,
    http_filters: [
      ...filters,
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
      },
    ],
    route_config: table,
  }
  return {
    '@type': type('config.listener.v3.Listener'),
    name,
    traffic_direction: 'INBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: http }] }],
  }
}

/** Of one configuration. */
export type Ports = { readonly envoy: number; readonly meshlet: number }

/** The endpoint's text is JSON, and its field `saw` the same escaped: what it saw. */
export async function startSubjects(t: Finally, configurations: readonly Configuration[]): Promise<readonly Ports[]> {
  const origin = await serveHttp(t, (request, response) => {
    let body = ''
    request.on('data', (bytes: Buffer) => {
      body += bytes.toString('latin1')
    })
    request.on('end', () => {
      const { method, url, rawHeaders } = request
      const told = JSON.stringify({ method, url, rawHeaders, body })
      response.writeHead(200, { ...ADDED_BY_ENDPOINT, 'content-length': Buffer.byteLength(told), saw: encodeURI(told) })
      response.end(told)
    })
  })
  const ports = await freePorts(configurations.length * 2)
  const pairs = configurations.map((_, i) => ({ envoy: ports[2 * i]!, meshlet: ports[2 * i + 1]! }))
  const cluster = staticCluster('origin', origin)
  const listeners = (of: 'envoy' | 'meshlet'): JsonObject[] =>
    configurations.map((one, i) => listenerOf(one, `l${i}`, pairs[i]![of]))
  const agent = await Agent.create(t, (folder, admin) => directoryMode(folder, admin, 'log: {level: error}\n'))
  writeResources(agent.folder, [cluster, ...listeners('meshlet')])
  await agent.start()
  await startStaticEnvoy(t, { listeners: listeners('envoy'), clusters: [cluster] }, pairs.at(-1)!.envoy)
  return pairs
}
