/** What istiod sends for a service, in short: for a rehearsal of a start (agent/cli/rehearsal.ts). */
import { fromJson, toBinary, type JsonObject } from '@bufbuild/protobuf'
import { TYPE_URLS, type ResourceKind } from '../model/snapshot.ts'
import type { Change } from './apply.ts'
import { loadRegistry } from '../proto/registry.ts'

/** Clusters, endpoints and routes of a service behind the explicit proxy. */
export const describeOneService = (host: string, port: number): Change[] => [
  put('cluster', 'svc', {
    name: 'svc',
    type: 'EDS',
    connect_timeout: '10s',
    eds_cluster_config: { eds_config: { ads: {} }, service_name: 'svc' },
    lb_policy: 'LEAST_REQUEST',
  }),
  put('endpoint', 'svc', {
    cluster_name: 'svc',
    endpoints: [
      { lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] },
    ],
  }),
  put('route', 'http_proxy', {
    name: 'http_proxy',
    virtual_hosts: [
      {
        name: 'svc',
        domains: [host],
        routes: [
          {
            match: { prefix: '/' },
            route: {
              cluster: 'svc',
              timeout: '0s',
              retry_policy: { retry_on: 'connect-failure,refused-stream,unavailable', num_retries: 2 },
            },
          },
        ],
      },
    ],
  }),
]

function put(kind: ResourceKind, name: string, json: JsonObject): Change {
  const schema = loadRegistry().getMessage(TYPE_URLS[kind].replace(/.*\//, ''))
  if (!schema) throw new Error(`no schema of ${kind}`)
  return {
    kind,
    removed: [],
    put: [{ name, version: '', value: toBinary(schema, fromJson(schema, json, { registry: loadRegistry() })) }],
  }
}
