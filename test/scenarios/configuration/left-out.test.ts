/**
 * What a mesh asks for and meshlet leaves out is told in words, and nobody is told that nothing is wrong; also after a
 * start from disk.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { formatStatus } from '../../../agent/admin/status-text.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { sample, type Sample } from '../../helpers/control-plane/resources.ts'
import { ControlPlane } from '../control-plane.ts'
import { TestAgent } from '../site.ts'
import { anyHost, httpManager, socketAddress, webListener } from '../web-listener.ts'

const T = 'type.googleapis.com/envoy'
/** As a control plane sends types that our protos do not have: their bytes are nobody's business here. */
const struct = (type: string): JsonObject => ({
  '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
  type_url: `type.googleapis.com/${type}`,
  value: {},
})
const http = (name: string, type: string): JsonObject => ({ name, typed_config: struct(type) })
const ACCESS_LOG: JsonObject[] = [
  {
    name: 'file',
    typed_config: {
      '@type': `${T}.extensions.access_loggers.file.v3.FileAccessLog`,
      path: '/dev/stdout',
      log_format: { text_format_source: { inline_string: '%NO_SUCH(X)%\n' } },
    },
  },
  {
    name: 'otel',
    typed_config: struct('envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig'),
  },
]
const listener = (port: number, direction = 'OUTBOUND', filters: JsonObject[] = FILTERS): Sample => {
  const host = anyHost({ match: { prefix: '/' }, direct_response: { status: 204 } })
  const manager = httpManager([host], filters, { access_log: ACCESS_LOG })
  return webListener(port, [{ filters: [manager] }], { traffic_direction: direction })
}
const FILTERS = [
  http('ext_proc', 'envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor'),
  http('lua', 'envoy.extensions.filters.http.lua.v3.Lua'),
  http('wasm', 'envoy.extensions.filters.http.wasm.v3.Wasm'),
  http('acme', 'acme.Other'),
]
const checked = (): Sample => {
  const plain = sample({
    '@type': `${T}.config.cluster.v3.Cluster`,
    name: 'one',
    type: 'STATIC',
    load_assignment: { cluster_name: 'one' },
  })
  // Cluster.health_checks is field 8; this one is of a kind that nobody knows.
  return { ...plain, bytes: Buffer.concat([plain.bytes, Buffer.from([(8 << 3) | 2, 0])]) }
}

const WORDS = [
  /external processors are not asked \(ext_proc\): listener web/,
  /Lua scripts do not run/,
  /Wasm extensions do not run/,
  /the filter acme\.Other does not run/,
  /an access log is not written: %NO_SUCH\(X\)% is no operator that meshlet knows/,
  /an access log is not written: envoy\.extensions\.access_loggers\.open_telemetry\S+ is not implemented/,
  /endpoints are not asked whether they are well/,
]

test('what is left out stands in the status in words, also after a start from disk; "Nothing is wrong" is not said beside it', async (t) => {
  const plane = await ControlPlane.start(t)
  const port = (await freePorts(1))[0]!
  plane.push(listener(port), checked())
  const edge = new TestAgent(t, `node: {name: edge, namespace: edge}\n${plane.yaml}`)
  await edge.start()
  await edge.connected()
  const told = (): void => {
    const text = formatStatus(edge.status())
    for (const words of WORDS) assert.match(text, words)
    assert.doesNotMatch(text, /Nothing is wrong/)
  }
  assert.deepEqual(edge.problems(), [])
  told()
  assert.match(formatStatus(edge.status()), /not all that the configuration asks for is done/)
  const ignored = edge.status().config.ignoredFields
  await edge.stop()
  edge.yaml = edge.yaml.replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1')
  await edge.start()
  told()
  assert.equal(edge.status().config.ignoredFields, ignored)
})

test('with nothing left out nothing is wrong; inbound what is not implemented blocks and is a problem', async (t) => {
  const plane = await ControlPlane.start(t)
  const port = (await freePorts(1))[0]!
  const plain = listener(port, 'OUTBOUND', [])
  plane.push(
    {
      ...plain,
      bytes: sample({
        '@type': `${T}.config.listener.v3.Listener`,
        name: 'web',
        address: socketAddress(port),
        traffic_direction: 'OUTBOUND',
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
      }).bytes,
    },
    sample({
      '@type': `${T}.config.cluster.v3.Cluster`,
      name: 'one',
      type: 'STATIC',
      load_assignment: { cluster_name: 'one' },
    }),
  )
  const edge = new TestAgent(t, `node: {name: edge, namespace: edge}\n${plane.yaml}`)
  await edge.start()
  await edge.connected()
  assert.match(formatStatus(edge.status()), /Nothing is wrong/)
  plane.push(listener(port, 'INBOUND', FILTERS.slice(0, 1)))
  await edge.connected()
  for (let i = 0; i < 200 && edge.problems().length === 0; i++)
    await new Promise((resolve) => {
      setTimeout(resolve, 10)
    })
  assert.ok(edge.problems().includes('MESH_CHAIN_BLOCKED'), edge.problems().join())
})
