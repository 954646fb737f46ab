/** Lines and spans of an agent: on its output, in a file that the mesh names, at a collector. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../tools/free-ports.ts'
import { sample } from '../helpers/control-plane/resources.ts'
import { serveHttp } from '../helpers/serve-http.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { ControlPlane } from './control-plane.ts'
import { ask, TestAgent, until } from './site.ts'
import { anyHost, httpManager, socketAddress, webListener } from './web-listener.ts'

const T = 'type.googleapis.com/envoy'
const log = (file: string): JsonObject => ({
  name: file,
  typed_config: {
    '@type': `${T}.extensions.access_loggers.file.v3.FileAccessLog`,
    path: file,
    log_format: { text_format_source: { inline_string: '%REQ(:PATH)% %RESPONSE_CODE% %SPAN_ID%\n' } },
  },
})
const tracing: JsonObject = {
  provider: {
    name: 'zipkin',
    typed_config: {
      '@type': `${T}.config.trace.v3.ZipkinConfig`,
      collector_cluster: 'zipkin',
      collector_endpoint: '/api/v2/spans',
      collector_endpoint_version: 'HTTP_JSON',
    },
  },
}

test('access logs and spans of an agent get to where the mesh wants them', async (t) => {
  const [plane, folder, spans] = [await ControlPlane.start(t), temporaryFolder(t), [] as { id: string; name: string }[]]
  const collector = await serveHttp(t, (request, response) => {
    void request.toArray().then((chunks) => {
      spans.push(...(JSON.parse(Buffer.concat(chunks as Buffer[]).toString()) as typeof spans))
      response.writeHead(202).end()
    })
  })
  const [port] = await freePorts(1)
  const logs = [log('/dev/stdout'), log(`${folder}/a.log`), log('/elsewhere/b.log')]
  const host = anyHost({ match: { prefix: '/' }, direct_response: { status: 204 } })
  const cluster = sample({
    '@type': `${T}.config.cluster.v3.Cluster`,
    name: 'zipkin',
    type: 'STATIC',
    load_assignment: {
      cluster_name: 'zipkin',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(collector) } }] }],
    },
  })
  plane.push(webListener(port!, [{ filters: [httpManager([host], [], { access_log: logs, tracing })] }]), cluster)
  const yaml = `node: {name: edge, namespace: edge}\ntelemetry: {accessLogs: {folders: [${folder}]}}\n${plane.yaml}`
  const edge = new TestAgent(t, yaml)
  await edge.start()
  await edge.connected()
  await ask(port!, '/one')
  await until('the span is at the collector', () => spans.length > 0)
  await edge.stop()
  const line = `/one 204 ${spans[0]!.id}\n`
  assert.deepEqual(edge.output, [line])
  assert.equal(fs.readFileSync(path.join(folder, 'a.log'), 'utf8'), line)
  assert.equal(spans[0]!.name, `127.0.0.1:${port}`)
})
