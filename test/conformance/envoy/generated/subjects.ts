/** Envoy and the shipped bundle with the same listeners, in front of the same endpoints. */
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../../tools/free-ports.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../../package/shipped.ts'
import type { Finally } from '../../programs.ts'
import { startStaticEnvoy } from '../envoy.ts'
import { startLimitService } from '../filters/limit-service.ts'
import { startFlaky, startOrigin } from './endpoint.ts'
import { startAuthorizer } from './filters/authz.ts'
import type { Configuration } from './routes.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`

function listenerOf({ manager, filters, router = {}, table }: Configuration, name: string, port: number): JsonObject {
  const http = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 's',
    ...manager,
    http_filters: [
      ...filters,
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': type('extensions.filters.http.router.v3.Router'), ...router },
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

const HTTP2 = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}

/** Of one configuration. */
export type Ports = { readonly envoy: number; readonly meshlet: number }
export type Subjects = {
  readonly ports: readonly Ports[]
  /** Of the endpoint that answers each request. */
  readonly originPort: number
  /** How often the endpoint behind either met the request of that key. */
  tries(key: string): { readonly envoy: number; readonly meshlet: number }
}

export async function startSubjects(t: Finally, configurations: readonly Configuration[]): Promise<Subjects> {
  const originPort = await startOrigin(t)
  const origin = staticCluster('origin', originPort)
  const flaky = { envoy: await startFlaky(t), meshlet: await startFlaky(t) }
  const ports = await freePorts(configurations.length * 2)
  const pairs = configurations.map((_, i) => ({ envoy: ports[2 * i]!, meshlet: ports[2 * i + 1]! }))
  const services = [
    staticCluster('auth', await startAuthorizer(t)),
    staticCluster('limits', await startLimitService(t), HTTP2),
  ]
  const clusters = (of: keyof Ports): object[] => [origin, staticCluster('flaky', flaky[of].port), ...services]
  const listeners = (of: keyof Ports): JsonObject[] =>
    configurations.map((one, i) => listenerOf(one, `l${i}`, pairs[i]![of]))
  const agent = await Agent.create(t, (folder, admin) => directoryMode(folder, admin, 'log: {level: error}\n'))
  writeResources(agent.folder, [...clusters('meshlet'), ...listeners('meshlet')])
  await agent.start()
  await startStaticEnvoy(t, { listeners: listeners('envoy'), clusters: clusters('envoy') }, pairs.at(-1)!.envoy)
  return {
    ports: pairs,
    originPort,
    tries: (key) => ({ envoy: flaky.envoy.tries(key), meshlet: flaky.meshlet.tries(key) }),
  }
}
