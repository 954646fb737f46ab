import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Identity } from '../../model/identity.ts'
import { TYPE_URLS, type RawResource, type ResourceKind, type Snapshot } from '../../model/snapshot.ts'
import { collectConfigDump } from '../../control-sync/config-dump.ts'
import { golden, sample, type Sample } from '../helpers/control-plane/resources.ts'
import { testCa } from '../helpers/test-ca.ts'

const node = {
  id: 'sidecar~1.2.3.4~a.b~b.svc.cluster.local',
  cluster: 'a.b',
  locality: { region: 'r', zone: 'z', subZone: 's' },
  metadata: { NAMESPACE: 'b' },
  userAgentVersion: '1',
}
function dump(samples: readonly Sample[], identity?: Identity): Record<string, JsonObject> {
  const resources = Object.fromEntries(
    (Object.keys(TYPE_URLS) as ResourceKind[]).map((kind) => [
      kind,
      new Map(
        samples
          .filter((s) => s.kind === kind)
          .map((s): [string, RawResource] => [s.name, { name: s.name, value: s.bytes, version: '' }]),
      ),
    ]),
  ) as unknown as Snapshot['resources']
  const made = JSON.parse(
    JSON.stringify(collectConfigDump({ resources, savedAtMs: 1_700_000_000_000 }, { node, generation: 3, identity })),
  ) as { configs: JsonObject[] }
  return Object.fromEntries(made.configs.map((c) => [(c['@type'] as string).replace(/.*\./, ''), c]))
}
const at = (json: unknown, ...keys: (string | number)[]): unknown =>
  keys.reduce((v, k) => (v as Record<string | number, unknown>)[k], json)

test("Envoy's sections are there, with field names as in the .proto files", () => {
  const d = dump(golden('istiod-sidecar'))
  assert.deepEqual(Object.keys(d), [
    'BootstrapConfigDump',
    'ClustersConfigDump',
    'EndpointsConfigDump',
    'ListenersConfigDump',
    'SecretsConfigDump',
    'RoutesConfigDump',
    'EcdsConfigDump',
  ])
  assert.equal(at(d, 'BootstrapConfigDump', 'bootstrap', 'node', 'id'), node.id)
  assert.equal(at(d, 'BootstrapConfigDump', 'bootstrap', 'node', 'locality', 'sub_zone'), 's')
  assert.equal((at(d, 'ClustersConfigDump', 'dynamic_active_clusters') as unknown[]).length, 9)
  assert.equal(at(d, 'ClustersConfigDump', 'dynamic_active_clusters', 0, 'cluster', '@type'), TYPE_URLS.cluster)
  assert.equal(at(d, 'ClustersConfigDump', 'dynamic_active_clusters', 0, 'cluster', 'connect_timeout'), '10s')
  const listeners = at(d, 'ListenersConfigDump', 'dynamic_listeners') as JsonObject[]
  const inbound = listeners.find((l) => l['name'] === 'virtualInbound')
  assert.equal(
    at(inbound, 'active_state', 'listener', 'filter_chains', 1, 'filters', 1, 'typed_config', 'stat_prefix'),
    'InboundPassthroughCluster;',
  )
})
test('filters whose configuration comes by itself have a section of their own', () => {
  const d = dump([
    sample({
      '@type': TYPE_URLS.extension,
      name: 'ext',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC' },
    }),
  ])
  assert.equal(at(d, 'EcdsConfigDump', 'ecds_filters', 0, 'ecds_filter', 'name'), 'ext')
  assert.deepEqual(at(dump([]), 'EcdsConfigDump', 'ecds_filters'), [], 'also without any: istioctl asks for it')
})
test('every golden resource comes back from the dump as it was', () => {
  const samples = golden('istiod-strict-authz')
  const d = dump(samples)
  for (const [section, list, key] of [
    ['ClustersConfigDump', 'dynamic_active_clusters', 'cluster'],
    ['EndpointsConfigDump', 'dynamic_endpoint_configs', 'endpoint_config'],
    ['RoutesConfigDump', 'dynamic_route_configs', 'route_config'],
  ] as const) {
    for (const entry of at(d, section, list) as JsonObject[]) {
      const back = sample(entry[key] as JsonObject)
      assert.deepEqual(
        Buffer.from(back.bytes),
        Buffer.from(samples.find((s) => s.kind === back.kind && s.name === back.name)!.bytes),
      )
    }
  }
})
test('a private key in what does not decode is not shown either', () => {
  const key = Buffer.from('-----BEGIN EC PRIVATE KEY-----\nTOPSECRET')
  // Cluster{name: "c", transport_socket{name: "t", typed_config{type_url: "x/a.B", value: key}}}
  const any = Buffer.concat([Buffer.from([0x0a, 5]), Buffer.from('x/a.B'), Buffer.from([0x12, key.length]), key])
  const socket = Buffer.concat([Buffer.from([0x0a, 1, 0x74, 0x1a, any.length]), any])
  const cluster = Buffer.concat([Buffer.from([0x0a, 1, 0x63, 0xc2, 0x01, socket.length]), socket])
  const d = dump([
    { kind: 'cluster', name: 'c', bytes: cluster },
    { kind: 'cluster', name: 'd', bytes: Buffer.concat([Buffer.from([0xff]), key]) },
  ])
  for (const i of [0, 1]) {
    const shown = JSON.stringify(at(d, 'ClustersConfigDump', 'dynamic_active_clusters', i, 'cluster'))
    assert.match(shown, new RegExp(Buffer.from('[redacted]').toString('base64')))
    assert.ok(!shown.includes(key.toString('base64').slice(8, 40)), shown)
  }
})

test('an Any of an unknown type and broken bytes are shown as type URL and base64, and the rest all the same', () => {
  // Cluster{name: "c", transport_socket{name: "t", typed_config{type_url: "x/a.B", value: 0x01}}}
  const any = Buffer.concat([Buffer.from([0x0a, 5]), Buffer.from('x/a.B'), Buffer.from([0x12, 1, 1])])
  const socket = Buffer.concat([Buffer.from([0x0a, 1, 0x74, 0x1a, any.length]), any])
  const bytes = Buffer.concat([Buffer.from([0x0a, 1, 0x63, 0xc2, 0x01, socket.length]), socket])
  const d = dump([
    { kind: 'cluster', name: 'c', bytes },
    { kind: 'cluster', name: 'broken', bytes: Buffer.from('ff', 'hex') },
  ])
  assert.deepEqual(at(d, 'ClustersConfigDump', 'dynamic_active_clusters', 0, 'cluster', 'transport_socket'), {
    name: 't',
    typed_config: { '@type': 'x/a.B', value: 'AQ==' },
  })
  assert.deepEqual(at(d, 'ClustersConfigDump', 'dynamic_active_clusters', 1, 'cluster'), {
    '@type': TYPE_URLS.cluster,
    value: '/w==',
  })
})
test('private keys are not shown, wherever they stand', () => {
  const tls = (context: string): JsonObject => ({
    '@type': `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${context}`,
    common_tls_context: {
      tls_certificates: [
        {
          certificate_chain: { inline_string: 'CHAIN' },
          private_key: { inline_string: 'TOPSECRET' },
          password: { inline_bytes: Buffer.from('TOPSECRET').toString('base64') },
        },
      ],
    },
  })
  const text = JSON.stringify(
    dump([
      sample({
        '@type': TYPE_URLS.cluster,
        name: 'c',
        transport_socket: { name: 't', typed_config: tls('UpstreamTlsContext') },
      }),
      sample({
        '@type': TYPE_URLS.listener,
        name: 'l',
        filter_chains: [{ transport_socket: { name: 't', typed_config: tls('DownstreamTlsContext') } }],
      }),
    ]),
  )
  assert.ok(text.includes('CHAIN') && text.includes('[redacted]'))
  assert.ok(!text.includes('TOPSECRET') && !text.includes(Buffer.from('TOPSECRET').toString('base64')))
})
test("the workload certificate and its roots stand under Istio's names, without the key", () => {
  const identity = testCa().issue('shop', 'orders')
  const secrets = at(dump([], identity), 'SecretsConfigDump', 'dynamic_active_secrets')
  const shown = (...keys: (string | number)[]): string =>
    Buffer.from(at(secrets, ...keys) as string, 'base64').toString()
  assert.deepEqual(
    [at(secrets, 0, 'name'), at(secrets, 1, 'name'), at(secrets, 0, 'version_info')],
    ['default', 'ROOTCA', identity.serial],
  )
  assert.equal(shown(0, 'secret', 'tls_certificate', 'certificate_chain', 'inline_bytes'), identity.chainPem)
  assert.equal(shown(0, 'secret', 'tls_certificate', 'private_key', 'inline_bytes'), '[redacted]')
  assert.equal(shown(1, 'secret', 'validation_context', 'trusted_ca', 'inline_bytes'), identity.rootsPem)
})
