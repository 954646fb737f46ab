import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import { once } from 'node:events'
import type { JsonObject } from '@bufbuild/protobuf'
import { formatStatus } from '../../agent/admin/status-text.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { describeInboundListener, ORDERS } from '../../demo/resources.ts'
import { startDevice } from '../../demo/services.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { ControlPlane } from '../scenarios/control-plane.ts'
import { ask, Service, startSite, TestAgent, until, type Site } from '../scenarios/site.ts'
import { anyHost, httpManager, toCluster, webListener } from '../scenarios/web-listener.ts'

/** A request that stays open; resolves with its response once the head is there. */
async function open(site: Site, path: string): Promise<http.IncomingMessage> {
  const req = http.request({
    host: '127.0.0.1',
    port: site.edge.port('http-proxy'),
    path: `http://${ORDERS}${path}`,
    headers: { host: ORDERS },
    agent: false,
  })
  req.end()
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  return res
}

const policyFile = 'cloud/policy.yaml'

/** An HTTP listener whose only route goes to cluster `one`. */
function listener(port: number, match: JsonObject, o: { direction?: string; filters?: JsonObject[] } = {}): Sample {
  const filters = [...(o.filters ?? []), httpManager([anyHost(toCluster('one', match))])]
  return webListener(port, [{ filters }], { traffic_direction: o.direction ?? 'OUTBOUND' })
}
function cluster(name: string, port: number): Sample {
  return sample({
    '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
    name,
    type: 'STATIC',
    load_assignment: {
      cluster_name: name,
      endpoints: [
        { lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] },
      ],
    },
  })
}

test('an agent enrolls with a join token, gets its configuration, and carries HTTP over mTLS to a second agent', async (t) => {
  const site = await startSite(t)
  const status = site.edge.status()
  assert.equal(status.certificate?.spiffeId, 'spiffe://demo.mesh/ns/edge/sa/gateway')
  assert.deepEqual(status.config.rejected, [])
  assert.equal(status.config.stale, false)
  assert.ok(status.config.resources['clusters']! >= 3)
  assert.deepEqual(status.problems, [], 'nothing is wrong')
  assert.match(
    formatStatus(status),
    /^meshlet 0\.0\.0-test · .* · ready · up [^]*control plane 127\.0\.0\.1:\d+: connected for[^]*\nNothing is wrong\.\n$/,
  )

  const reply = await site.app().call(ORDERS, '/orders/1')
  assert.deepEqual([reply.status, reply.body], [200, 'GET /orders/1'])
  assert.deepEqual(
    [...site.orders.callers],
    ['spiffe://demo.mesh/ns/edge/sa/gateway'],
    'cloud proved to the service who had called',
  )
  assert.deepEqual([site.edge.status().http.requests, site.cloud.status().http.requests], [1, 1])
  assert.equal(
    (await site.app().call('nowhere.example', '/')).status,
    502,
    'the route table of the mesh says what happens to names that it does not know',
  )
})

test('a policy change is in force for the next request on the same connection, and touches nothing else', async (t) => {
  const site = await startSite(t)
  const app = site.app()
  const sensor = await startDevice(site.cloud.port('mqtt'), 'sensor')
  t.after(() => sensor.endAsync(true))
  let closed = 0
  sensor.on('close', () => {
    closed++
  })
  const slow = await open(site, '/slow')
  await until('the slow request has arrived', () => site.orders.holding === 1)
  assert.equal((await app.call(ORDERS, '/secret')).status, 200)
  const { connections } = site.cloud.status().listeners.find((l) => l.name === 'inbound')!

  site.hub.write(policyFile, describeInboundListener(site.ports, { deny: ['/secret'] }))
  const denied = await until('/secret is denied', async () => {
    const r = await app.call(ORDERS, '/secret')
    return r.status === 403 && r
  })
  assert.equal(denied.error, 'MESH_PEER_NOT_ALLOWED')
  assert.equal((await app.call(ORDERS, '/orders/2')).status, 200)
  site.orders.release()
  assert.equal(
    (await slow.toArray()).map(String).join(''),
    'first last',
    'a response that was under way comes to its end',
  )
  assert.equal(
    site.cloud.status().listeners.find((l) => l.name === 'inbound')!.connections,
    connections,
    'the connections between the agents are the same',
  )
  assert.equal(closed, 0)
  await sensor.publishAsync('local/topic', 'still here', { qos: 1 })
  assert.equal(site.cloud.status().http.denied >= 1, true)

  site.hub.write(policyFile, describeInboundListener(site.ports, { deny: [] }))
  await until('/secret is allowed again', async () => (await app.call(ORDERS, '/secret')).status === 200)
})

test('without the hub an agent serves on, starts again from disk, says that what it has is not confirmed, and confirms it when the hub is back', async (t) => {
  const site = await startSite(t)
  site.links.control.cut()
  await until('edge sees that the hub is gone', () => site.edge.status().control.link !== 'connected')
  assert.equal((await site.app().call(ORDERS, '/orders/3')).status, 200)
  await until('status says so', () => site.edge.problems().includes('MESH_CONTROL_UNREACHABLE'))
  assert.equal(site.edge.status().state, 'ready')
  const { serial } = site.edge.status().certificate!

  await site.edge.stop()
  await site.edge.start()
  const status = site.edge.status()
  assert.equal(status.config.stale, true)
  assert.equal(status.state, 'ready', 'what is on disk is enough to serve')
  assert.equal(status.certificate?.serial, serial, 'the certificate is that of before')
  assert.match(formatStatus(status), /generation \d+, from disk, not confirmed/)
  assert.deepEqual(
    [(await site.app().call(ORDERS, '/orders/4')).status, (await site.edge.ask('/ready')).status],
    [200, 200],
  )

  site.links.control.restore()
  await site.edge.connected()
  await until('the configuration is confirmed', () => !site.edge.status().config.stale)
  assert.deepEqual(site.edge.problems(), [])
})

test('a route that cannot be taken is named with its field and refuses; the route before serves no more and the rest of the push is taken', async (t) => {
  const service = await Service.start(t)
  const plane = await ControlPlane.start(t)
  const port = (await freePorts(1))[0]!
  plane.push(listener(port, { path: '/a' }), cluster('one', service.port))
  const edge = new TestAgent(t, `node: {name: edge, namespace: edge}\n${plane.yaml}`)
  await edge.start()
  await edge.connected()
  assert.deepEqual([(await ask(port, '/a')).status, (await ask(port, '/b')).status], [200, 404])

  // Protobuf takes this; only whoever compiles the pattern sees that it is none.
  plane.push(cluster('two', service.port), listener(port, { safe_regex: { regex: '(' } }))
  await until('edge refuses the listener', () => plane.refusals.length > 0)
  assert.match(plane.refusals[0]!, /web: .*routes\[0\]\.match\.safe_regex/)
  const status = edge.status()
  assert.deepEqual(edge.problems(), ['MESH_CONFIG_REJECTED'])
  assert.match(status.problems[0]!.text, /^listener web: .*safe_regex.*missing closing/)
  assert.match(
    formatStatus(status),
    /! MESH_CONFIG_REJECTED: listener web: [^]*\n {2}The message names resource and field/,
  )
  assert.equal(status.config.rejected[0]?.name, 'web')
  assert.equal(status.config.resources['clusters'], 2, 'the other resource of the push is there')
  assert.equal((await ask(port, '/a')).status, 503)

  plane.push(listener(port, { path: '/b' }))
  await until('the mended one is in force', async () => (await ask(port, '/b')).status === 200)
  assert.deepEqual(edge.problems(), [])
})

test('a listener with an inbound filter that nobody here knows lets nobody in, and status names the filter', async (t) => {
  const plane = await ControlPlane.start(t)
  const port = (await freePorts(1))[0]!
  const filter = {
    name: 'acme.filters.network.scan',
    typed_config: {
      '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
      type_url: 'type.googleapis.com/acme.Scan',
      value: {},
    },
  }
  plane.push(listener(port, { path: '/a' }, { direction: 'INBOUND', filters: [filter] }), cluster('one', 1))
  const edge = new TestAgent(t, `node: {name: edge, namespace: edge}\n${plane.yaml}`)
  await edge.start()
  await edge.connected()
  assert.notEqual(
    await ask(port, '/a').then(
      (a) => a.status,
      () => 'closed',
    ),
    200,
  )
  assert.deepEqual(edge.problems(), ['MESH_CHAIN_BLOCKED'])
  assert.match(
    edge.status().problems[0]!.text,
    /^listener web refuses what comes: the filter .*acme.* is not implemented$/,
  )
  assert.match((await edge.ask('/stats/prometheus')).body, /MESH_CHAIN_BLOCKED/)
})

test('a file that the hub cannot read as a resource never leaves it, and no agent is disturbed', async (t) => {
  const site = await startSite(t)
  const { generation } = site.cloud.status().config
  site.hub.write(
    policyFile,
    describeInboundListener(site.ports, { deny: ['/secret'] }).replace(
      'stat_prefix: inbound',
      'stat_prefix: inbound\n        stream_idle_timeout: soon',
    ),
  )
  const refused = await until('the hub says so', () => site.hub.lines.find((l) => l['evt'] === 'hub.resource-refused'))
  assert.match(String(refused['problem']), /policy\.yaml.*stream_?idle_?timeout/i)
  assert.equal((await site.app().call(ORDERS, '/secret')).status, 200)
  assert.equal(site.cloud.status().config.generation, generation)
  assert.deepEqual(site.cloud.problems(), [])
})

test('the admin port answers in the shapes of Envoy', async (t) => {
  const site = await startSite(t)
  await site.app().call(ORDERS, '/orders/6')
  const { edge } = site
  assert.deepEqual(await edge.ask('/ready'), { status: 200, type: 'text/plain; charset=utf-8', body: 'LIVE\n' })
  assert.deepEqual(
    [(await edge.ask('/live')).status, (await edge.ask('/nothing')).status, (await edge.ask('/drain')).status],
    [200, 404, 405],
  )

  const dump = JSON.parse((await edge.ask('/config_dump')).body) as {
    configs: { '@type': string; dynamic_active_clusters?: { cluster: { name: string } }[] }[]
  }
  assert.ok(dump.configs.some((c) => c['@type'] === 'type.googleapis.com/envoy.admin.v3.ClustersConfigDump'))
  assert.match(JSON.stringify(dump.configs), /outbound\|80\|\|orders\.cloud\.svc\.cluster\.local/)
  assert.doesNotMatch(JSON.stringify(dump), /PRIVATE KEY/)

  assert.match(
    (await edge.ask('/clusters')).body,
    new RegExp(
      `^outbound\\|80\\|\\|orders\\.cloud\\.svc\\.cluster\\.local::127\\.0\\.0\\.1:${site.ports.linkHttp}::health_flags::healthy$`,
      'm',
    ),
  )
  const certs = JSON.parse((await edge.ask('/certs')).body) as {
    certificates: { cert_chain: { serial_number: string; subject_alt_names: { uri: string }[] }[] }[]
  }
  assert.deepEqual(certs.certificates[0]?.cert_chain[0]?.subject_alt_names, [
    { uri: 'spiffe://demo.mesh/ns/edge/sa/gateway' },
  ])
  assert.equal(certs.certificates[0]?.cert_chain[0]?.serial_number, edge.status().certificate?.serial)

  const prometheus = await edge.ask('/stats/prometheus')
  assert.equal(prometheus.type, 'text/plain; version=0.0.4')
  assert.match(prometheus.body, /^# TYPE mesh_http_requests_total counter$/m)
  assert.match((await edge.ask('/stats')).body, /^mesh_control_connected: 1$/m)

  const status = JSON.parse((await edge.ask('/status')).body) as { state: string; problems: unknown[] }
  assert.deepEqual([status.state, status.problems], ['ready', []])
  assert.match((await edge.ask('/status?format=text')).body, /Nothing is wrong\./)
  assert.match((await edge.ask('/')).body, /\/config_dump/)

  assert.equal((await edge.ask('/logging?level=loud', 'POST')).status, 400)
  assert.deepEqual((await edge.ask('/logging?level=error', 'POST')).body, 'level: error\n')
  const before = edge.lines.length
  await site.app().call(ORDERS, '/orders/7')
  assert.equal(edge.lines.length, before, 'nothing below the new level is written')
})

test('a drained agent accepts nothing more, says so, and lets a response that is under way come to its end', async (t) => {
  const site = await startSite(t)
  const slow = await open(site, '/slow')
  await until('the slow request has arrived', () => site.orders.holding === 1)
  const proxyPort = site.edge.port('http-proxy')
  assert.equal((await site.edge.ask('/drain', 'POST')).body, 'draining\n')
  assert.equal(await site.edge.agent.stopRequested, 'drain')
  const drained = site.edge.agent.drain()
  assert.deepEqual(await site.edge.ask('/ready'), {
    status: 503,
    type: 'text/plain; charset=utf-8',
    body: 'DRAINING\n',
  })
  assert.equal(site.edge.status().state, 'draining')
  await until('the port is closed', async () => {
    const req = http.get({ host: '127.0.0.1', port: proxyPort, path: `http://${ORDERS}/`, agent: false })
    const [what] = (await Promise.race([once(req, 'error'), once(req, 'response')])) as [{ code?: string }]
    return what.code === 'ECONNREFUSED'
  })
  site.orders.release()
  assert.equal((await slow.toArray()).map(String).join(''), 'first last')
  await drained
})
