/**
 * A field that Envoy has and meshlet does not act upon means the same in a file as in a push: ignored, with its path. A
 * mistake is one in either spelling.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createFileRegistry, fromBinary, fromJson, toBinary, toJson, type JsonObject } from '@bufbuild/protobuf'
import { TYPE_URLS, type ResourceKind } from '../../../model/snapshot.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { listAllMessages } from '../../../control-sync/directory/known.ts'
import { parseFile } from '../../../control-sync/directory/parse.ts'
import { toFileDescriptorSet, type FileRow } from '../../../proto/descriptor-rows.ts'
import { loadFullRegistry } from '../../../proto/full/registry.ts'
import { ROWS } from '../../../proto/gen/descriptor-rows.ts'

const url = (type: string): string => `type.googleapis.com/envoy.${type}`
const manager = (more: object): object => ({
  '@type': url('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
  stat_prefix: 's',
  rds: { route_config_name: 'r', config_source: { ads: {} } },
  http_filters: [
    { name: 'envoy.filters.http.router', typed_config: { '@type': url('extensions.filters.http.router.v3.Router') } },
  ],
  ...more,
})
const listener = (more: object, direction = 'OUTBOUND'): [ResourceKind, object] => [
  'listener',
  {
    name: 'l',
    address: { socket_address: { address: '127.0.0.1', port_value: 1 } },
    traffic_direction: direction,
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: manager({}) }] }],
    ...more,
  },
]
const withManager = (more: object, direction?: string): [ResourceKind, object] =>
  listener({ filter_chains: [{ filters: [{ name: 'hcm', typed_config: manager(more) }] }] }, direction)
const httpFilter = (name: string, config: object, direction?: string): [ResourceKind, object] =>
  withManager(
    {
      http_filters: [
        { name, typed_config: config },
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': url('extensions.filters.http.router.v3.Router') },
        },
      ],
    },
    direction,
  )
const routes = (host: object, route: object = { cluster: 'c' }): [ResourceKind, object] => [
  'route',
  { name: 'r', virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route }], ...host }] },
]
const cluster = (more: object): [ResourceKind, object] => ['cluster', { name: 'c', type: 'STATIC', ...more }]
const CORS = { allow_origin_string_match: [{ exact: 'https://a.example' }], allow_methods: 'GET' }
const KEY_FORMAT = { http_protocol_options: { header_key_format: { proper_case_words: {} } } }
const OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'

const HELD: readonly {
  readonly name: string
  readonly of: [ResourceKind, object]
  /** Left out: it is acted upon by now. */ readonly ignored?: RegExp
}[] = [
  {
    name: 'CorsPolicy of a virtual host',
    of: routes({
      typed_per_filter_config: {
        'envoy.filters.http.cors': { '@type': url('extensions.filters.http.cors.v3.CorsPolicy'), ...CORS },
      },
    }),
  },
  { name: "a virtual host's own cors", of: routes({ cors: CORS }), ignored: /^virtual_hosts\[0\]\.cors$/ },
  {
    name: 'Compressor',
    of: httpFilter('envoy.filters.http.compressor', {
      '@type': url('extensions.filters.http.compressor.v3.Compressor'),
      compressor_library: {
        name: 'gzip',
        typed_config: { '@type': url('extensions.compression.gzip.compressor.v3.Gzip') },
      },
    }),
  },
  {
    name: "a filter of the mesh's own",
    of: httpFilter('acme', { '@type': 'type.googleapis.com/acme.Filter', depth: { of: ['it'] } }),
    ignored: /http_filters\[0\].*acme\.Filter/,
  },
  {
    name: 'custom_health_check',
    of: cluster({
      health_checks: [
        {
          timeout: '1s',
          interval: '5s',
          unhealthy_threshold: 2,
          healthy_threshold: 2,
          custom_health_check: { name: 'redis' },
        },
      ],
    }),
    ignored: /^health_checks\[0\]/,
  },
  {
    name: 'hash_policy attributes',
    of: routes(
      {},
      { cluster: 'c', hash_policy: [{ cookie: { name: 'k', attributes: [{ name: 'SameSite', value: 'Lax' }] } }] },
    ),
    ignored: /hash_policy\[0\]\.cookie\.attributes$/,
  },
  {
    name: 'header_key_format of a cluster',
    of: cluster({
      typed_extension_protocol_options: {
        [OPTIONS]: { '@type': `type.googleapis.com/${OPTIONS}`, explicit_http_config: KEY_FORMAT },
      },
    }),
  },
  {
    name: 'header_key_format of a connection manager',
    of: withManager(KEY_FORMAT),
  },
  {
    name: 'additional_addresses of an endpoint',
    of: [
      'endpoint',
      {
        cluster_name: 'c',
        endpoints: [
          {
            lb_endpoints: [
              {
                endpoint: {
                  address: { socket_address: { address: '10.0.0.1', port_value: 1 } },
                  additional_addresses: [{ address: { socket_address: { address: '10.0.0.2', port_value: 1 } } }],
                },
              },
            ],
          },
        ],
      },
    ],
  },
  {
    name: 'additional_addresses of a listener',
    of: listener({ additional_addresses: [{ address: { socket_address: { address: '127.0.0.2', port_value: 1 } } }] }),
  },
  {
    name: 'max_response_headers_kb',
    of: cluster({
      typed_extension_protocol_options: {
        [OPTIONS]: {
          '@type': `type.googleapis.com/${OPTIONS}`,
          explicit_http_config: { http_protocol_options: {} },
          common_http_protocol_options: { max_response_headers_kb: 96 },
        },
      },
    }),
  },
  {
    name: 'request_mirror_policies',
    of: routes(
      {},
      { cluster: 'c', request_mirror_policies: [{ cluster: 'm', request_headers_mutations: [{ remove: 'x' }] }] },
    ),
    ignored: /request_mirror_policies/,
  },
]

const written = ([kind, json]: [ResourceKind, object]): object => ({
  resources: [{ '@type': TYPE_URLS[kind], ...json }],
})
/** As a control plane has it that knows every message. */
function pushed([kind, json]: [ResourceKind, object]): Uint8Array {
  const schema = loadFullRegistry().getMessage(TYPE_URLS[kind].slice(TYPE_URLS[kind].lastIndexOf('/') + 1))!
  return toBinary(schema, fromJson(schema, json as JsonObject, { registry: loadFullRegistry() }))
}

for (const { name, of, ignored } of HELD)
  test(`taken${ignored ? ', and ignored with its path,' : ''} in JSON, YAML and bytes: ${name}`, () => {
    const [kind] = of
    for (const [file, text] of [
      ['f.json', JSON.stringify(written(of), null, 1)],
      ['f.yaml', JSON.stringify(written(of))],
    ] as const) {
      const { resources, problems } = parseFile(file, text, () => undefined, listAllMessages())
      assert.deepEqual(problems, [], file)
      const decoded = decode(kind, resources[0]!.value)
      assert.ok(
        decoded.ok && (!ignored || decoded.ignored.some((i) => ignored.test(i))),
        `${file}: ${JSON.stringify(decoded)}`,
      )
    }
    let bytes: Uint8Array
    try {
      bytes = pushed(of)
    } catch {
      return
    } // a type that is none of ours cannot be made here
    const [own] = parseFile('f.json', JSON.stringify(written(of)), () => undefined, listAllMessages()).resources
    assert.deepEqual(Buffer.from(own!.value), Buffer.from(bytes), 'the file and the push are the same bytes')
  })

test('a filter that is not implemented is passed over outbound and blocks inbound, from a file as from a push', () => {
  for (const type of ['envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor', 'acme.Filter']) {
    const of = (direction: string): unknown => {
      const [kind, json] = httpFilter('f', { '@type': `type.googleapis.com/${type}`, x: 1 }, direction)
      const decoded = decode(
        kind,
        parseFile('f.json', JSON.stringify(written([kind, json])), () => undefined, listAllMessages()).resources[0]!
          .value,
      )
      const codec =
        decoded.ok &&
        (
          decoded.value as unknown as {
            filterChains: { codec: { kind: string; http: { filters: { kind: string }[] } } }[]
          }
        ).filterChains[0]!.codec
      return codec && codec.kind === 'http' && codec.http.filters.map((f) => f.kind)
    }
    assert.deepEqual([of('OUTBOUND'), of('INBOUND')], [[], ['blocked']], type)
  }
})

test('the hub hands on what meshlet does not know: bytes of a file hold it whole', () => {
  const [, json] = cluster({
    health_checks: [
      { timeout: '1s', interval: '5s', unhealthy_threshold: 2, healthy_threshold: 2, tcp_health_check: {} },
    ],
  })
  const [made] = parseFile(
    'f.json',
    JSON.stringify(written(['cluster', json])),
    () => undefined,
    listAllMessages(),
  ).resources
  const schema = loadFullRegistry().getMessage('envoy.config.cluster.v3.Cluster')!
  assert.deepEqual((toJson(schema, fromBinary(schema, made!.value)) as JsonObject)['healthChecks'], [
    { timeout: '1s', interval: '5s', unhealthyThreshold: 2, healthyThreshold: 2, tcpHealthCheck: {} },
  ])
})

test('rules of a route that come as a TypedStruct refuse everything: they are not read', () => {
  const [kind, json] = routes({
    typed_per_filter_config: {
      'envoy.filters.http.rbac': {
        '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
        type_url: url('extensions.filters.http.rbac.v3.RBACPerRoute'),
        value: { rbac: { rules: { action: 'ALLOW' } } },
      },
    },
  })
  const decoded = decode(kind, pushed([kind, json]))
  assert.deepEqual(
    decoded.ok &&
      (
        decoded.value as unknown as {
          virtualHosts: { routes: { filters: ReadonlyMap<string, { policy: { value: unknown } }> }[] }[]
        }
      ).virtualHosts[0]!.routes[0]!.filters.get('envoy.filters.http.rbac')?.policy.value,
    { action: 'allow', rules: [], shadow: undefined },
  )
})

test("our protos and Envoy's agree: a field has one number, name and type", () => {
  const full = loadFullRegistry()
  const differ: string[] = []
  for (const ours of createFileRegistry(toFileDescriptorSet(JSON.parse(ROWS) as FileRow[]))) {
    if (ours.kind !== 'message' || !ours.typeName.startsWith('envoy.')) continue
    const theirs = full.getMessage(ours.typeName)
    for (const field of ours.fields) {
      const other = theirs?.fields.find((f) => f.number === field.number)
      const same =
        other &&
        other.name === field.name &&
        other.fieldKind === field.fieldKind &&
        other.message?.typeName === field.message?.typeName &&
        other.enum?.typeName === field.enum?.typeName &&
        other.scalar === field.scalar
      if (!same) differ.push(`${ours.typeName}.${field.name}`)
    }
  }
  assert.deepEqual(differ, [])
})

test('a tag that nobody resolves is a mistake of a file of any size', () => {
  for (const rest of ['', '# more\n'.repeat(30_000)]) {
    const text = `resources:\n- "@type": ${TYPE_URLS.cluster}\n  name: !!js/function "x"\n${rest}`
    const { resources, problems } = parseFile('f.yaml', text, () => undefined, listAllMessages())
    assert.deepEqual(
      [resources, problems.map(({ line, problem }) => [line, problem])],
      [[], [[3, 'Unresolved tag: tag:yaml.org,2002:js/function']]],
    )
  }
})
