/**
 * A push of which something cannot be taken: that piece refuses, the rest follows the push, and nothing weaker than
 * what it asks for goes on.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../../tools/free-ports.ts'
import { sample, type Sample } from '../../helpers/control-plane/resources.ts'
import { ControlPlane } from '../control-plane.ts'
import { ask, Service, TestAgent, until } from '../site.ts'
import { anyHost, httpManager, socketAddress, toCluster, webListener } from '../web-listener.ts'

const T = 'type.googleapis.com/envoy'
const all = (cluster = 'one', routes: JsonObject[] = []): JsonObject => anyHost(...routes, toCluster(cluster))
const cluster = (port: number, more: JsonObject = {}): Sample =>
  sample({
    '@type': `${T}.config.cluster.v3.Cluster`,
    name: 'one',
    type: 'STATIC',
    ...more,
    load_assignment: {
      cluster_name: 'one',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(port) } }] }],
    },
  })
/** A secret of which nobody knows where it would come from. */
const unknownTls = {
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    '@type': `${T}.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
    common_tls_context: {
      combined_validation_context: {
        default_validation_context: {},
        validation_context_sds_secret_config: { name: 'elsewhere://roots' },
      },
    },
  },
}
const denyAll = {
  name: 'envoy.filters.network.rbac',
  typed_config: {
    '@type': `${T}.extensions.filters.network.rbac.v3.RBAC`,
    stat_prefix: 'r',
    rules: {
      action: 'DENY',
      policies: { 'ns[a]-policy[deny]-rule[0]': { permissions: [{ any: true }], principals: [{ any: true }] } },
    },
  },
}

async function agentOf(t: Parameters<typeof ControlPlane.start>[0], plane: ControlPlane): Promise<TestAgent> {
  const edge = new TestAgent(t, `node: {name: edge, namespace: edge}\n${plane.yaml}`)
  await edge.start()
  await edge.connected()
  return edge
}

test('a cluster whose TLS settings cannot be taken refuses: nothing goes over its plain version any more, not in a tunnel that is open either, also after a start from disk', async (t) => {
  const service = await Service.start(t)
  const plane = await ControlPlane.start(t)
  const [web, tcp] = await freePorts(2)
  const tunnel = sample({
    '@type': `${T}.config.listener.v3.Listener`,
    name: 'tcp',
    traffic_direction: 'OUTBOUND',
    address: socketAddress(tcp!),
    filter_chains: [
      {
        filters: [
          {
            name: 'tcp',
            typed_config: {
              '@type': `${T}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
              stat_prefix: 't',
              cluster: 'one',
            },
          },
        ],
      },
    ],
  })
  plane.push(webListener(web!, [{ filters: [httpManager([all()])] }]), tunnel, cluster(service.port))
  const edge = await agentOf(t, plane)
  assert.equal((await ask(web!, '/')).status, 200)
  const open = net.connect(tcp!, '127.0.0.1')
  open.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(open, 'data')
  const closed = new Promise<void>((resolve) => {
    open
      .on('error', () => {})
      .once('close', () => {
        resolve()
      })
  })

  plane.push(cluster(service.port, { transport_socket: unknownTls }))
  await until('the nack', () => plane.refusals.length > 0)
  assert.match(plane.refusals[0]!, /^one: transport_socket\..*elsewhere:\/\/roots/)
  const refused = await ask(web!, '/')
  assert.equal(refused.status, 503)
  assert.match(refused.body, /^MESH_CLUSTER_BLOCKED: /)
  await closed
  assert.ok(edge.problems().includes('MESH_CONFIG_REJECTED'))

  await edge.stop()
  edge.yaml = edge.yaml.replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1')
  await edge.start()
  assert.match((await ask(web!, '/')).body, /^MESH_CLUSTER_BLOCKED: /)
  assert.match(
    edge
      .status()
      .problems.map((p) => p.text)
      .join('\n'),
    /cluster one: transport_socket\..*elsewhere:\/\/roots/,
  )
})

test('a chain that cannot be taken does not keep the others from a stricter version', async (t) => {
  const service = await Service.start(t)
  const plane = await ControlPlane.start(t)
  const port = (await freePorts(1))[0]!
  const inbound = { traffic_direction: 'INBOUND' }
  const open = {
    name: 'open',
    filter_chain_match: { transport_protocol: 'raw_buffer' },
    filters: [httpManager([all()])],
  }
  plane.push(webListener(port, [open], inbound), cluster(service.port))
  const edge = await agentOf(t, plane)
  assert.equal((await ask(port, '/')).status, 200)
  // The certificate is a file that the control plane names: not ours to read.
  const withFile = {
    name: 'ingress',
    filter_chain_match: { transport_protocol: 'tls' },
    filters: [httpManager([all()])],
    transport_socket: {
      name: 'tls',
      typed_config: {
        '@type': `${T}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
        common_tls_context: {
          tls_certificates: [
            { certificate_chain: { filename: '/nowhere/c.pem' }, private_key: { filename: '/nowhere/k.pem' } },
          ],
        },
      },
    },
  }
  plane.push(webListener(port, [withFile, { ...open, filters: [denyAll, ...open.filters] }], inbound))
  await until('the nack', () => plane.refusals.length > 0)
  await assert.rejects(ask(port, '/'), 'the deny-all of the other chain is in force')
  const codes = edge.agent.metrics
  assert.equal(codes.total('mesh_connections_failed_total', { code: 'MESH_PEER_NOT_ALLOWED' }), 1)
  await assert.rejects(once(tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }), 'secureConnect'))
  assert.equal(codes.total('mesh_connections_failed_total', { code: 'MESH_CHAIN_BLOCKED' }), 1)
})

test('a route with a condition that cannot be judged refuses what may be meant for it; the rest of the table serves', async (t) => {
  const service = await Service.start(t)
  const plane = await ControlPlane.start(t)
  const port = (await freePorts(1))[0]!
  const unknown = {
    filter: 'envoy.filters.http.nobody',
    path: [{ key: 'payload' }],
    value: { string_match: { exact: 'admin' } },
  }
  const other = {
    name: 'other',
    domains: ['other.example'],
    routes: [{ match: { prefix: '/' }, direct_response: { status: 204 } }],
  }
  plane.push(
    webListener(port, [
      {
        filters: [
          httpManager([
            other,
            all('one', [{ match: { prefix: '/admin', dynamic_metadata: [unknown] }, route: { cluster: 'one' } }]),
          ]),
        ],
      },
    ]),
    cluster(service.port),
  )
  await agentOf(t, plane)
  await until('the nack', () => plane.refusals.length > 0)
  assert.match(plane.refusals[0]!, /dynamic_metadata/)
  const [admin, plain] = [await ask(port, '/admin/x'), await ask(port, '/x')]
  assert.deepEqual([admin.status, plain.status], [503, 200])
  assert.match(admin.body, /^MESH_ROUTE_BLOCKED: /)
})
