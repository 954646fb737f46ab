/**
 * EnvoyFilters that meshlet cannot follow: the piece that is meant refuses, the rest of the push is in force, and both
 * sides say so until it is repaired.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { until } from '../../programs.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { ingressYaml, plainCall } from '../rig/inbound.ts'
import { proxyStatus } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent, NODE_IP } from '../rig/mesh-agent.ts'

const envoyFilter = (patch: string): string => `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: trial, namespace: edge}
spec:
  workloadSelector: {labels: {app: edge}}
  configPatches:
${patch}`

/** A transport socket that meshlet has not got, for endpoints that another one takes before. */
const starttls = (service: string): string =>
  envoyFilter(`  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, cluster: {service: ${service}}}
    patch:
      operation: MERGE
      value:
        transport_socket_matches:
        - name: broken
          match: {}
          transport_socket:
            name: envoy.transport_sockets.starttls
            typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig}
`)

/** A filter that could be what keeps somebody out. */
const lua = (context: string): string =>
  envoyFilter(`  - applyTo: HTTP_FILTER
    match: {context: ${context}, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: trial.lua
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {inline_string: "function envoy_on_request(h) end"}}
`)

test('a cluster that cannot be followed', { timeout: 120_000 }, async (t) => {
  const [port, otherPort] = (await freePorts(2)) as [number, number]
  const [orders, other] = [await App.start(t, 'orders'), await App.start(t, 'other')]
  const istiod = await Istiod.create(t)
  istiod.write('orders', serviceEntry('orders', { port, endpoints: [orders] }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const url = `http://orders.shop.svc.cluster.local:${port}/`
  const CLUSTER = `outbound|${port}||orders.shop.svc.cluster.local`
  await edge.until(url, (a) => a.body === 'orders')
  const rejected = (): Promise<readonly string[]> =>
    edge.status('a status').then((s) => s.config.rejected.map((r) => r.name))

  await t.test('the endpoints that it is not for are served, and what came with it is in force', async () => {
    istiod.write(
      'filter',
      starttls('orders.shop.svc.cluster.local') + serviceEntry('other', { port: otherPort, endpoints: [other] }),
    )
    await edge.until(`http://other.shop.svc.cluster.local:${otherPort}/`, (a) => a.body === 'other')
    const { problems } = await edge.status('it is refused', (s) => s.config.rejected.length === 1)
    assert.equal(problems.map((p) => p.code).join(), 'MESH_CONFIG_REJECTED')
    assert.match(
      problems[0]!.text,
      /^cluster outbound\|\d+\|\|orders\.shop\.svc\.cluster\.local: transport_socket_matches\[\d\]\.transport_socket\.typed_config: the transport socket envoy\.extensions\.transport_sockets\.starttls/,
    )
    assert.equal((await edge.get(url)).body, 'orders')
  })
  await t.test('istiod knows: its metric, its debug page and istioctl have the reason', async () => {
    // The answer is on its way when the agent's own status shows it.
    await istiod.until('it is counted', async () => (await istiod.metric('pilot_total_xds_rejects', 'cds')) === 1)
    await istiod.until('it is shown', async () =>
      JSON.stringify((await istiod.syncz()).find((s) => s.proxy === 'edge-1.edge') ?? {}).includes('starttls'),
    )
    assert.match((await proxyStatus(t, istiod)).out, /edge-1\.edge .*(STALE|ERROR)/)
  })
  await t.test('killed and started again without istiod it still serves them, and still says so', async () => {
    await edge.saved()
    await istiod.stop()
    await edge.kill()
    await edge.agent.start()
    assert.equal((await edge.get(url)).body, 'orders')
    assert.deepEqual(await rejected(), [CLUSTER])
    await istiod.start()
    await edge.status(
      'refused anew',
      (s) => s.control.link === 'connected' && s.config.rejected.some((r) => r.name === CLUSTER),
      60_000,
    )
    assert.equal((await edge.get(url)).body, 'orders')
  })
  await t.test('repaired', async () => {
    istiod.write('filter', serviceEntry('other', { port: otherPort, endpoints: [other] }))
    await until('nothing is refused', async () => (await rejected()).length === 0)
    assert.deepEqual(await edge.problems(), [])
    assert.equal((await edge.get(url)).body, 'orders')
  })
})

test('a filter that meshlet has not got', { timeout: 120_000 }, async (t) => {
  const [port, inboundPort] = (await freePorts(2)) as [number, number]
  const [orders, app] = [await App.start(t, 'orders'), await App.start(t, 'app', '127.0.0.1')]
  const istiod = await Istiod.create(t)
  istiod.write(
    'all',
    serviceEntry('orders', { port, endpoints: [orders] }) +
      ingressYaml({ http: { port: inboundPort, protocol: 'HTTP', to: app.port } }),
  )
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const url = `http://orders.shop.svc.cluster.local:${port}/`
  await edge.until(url, (a) => a.body === 'orders')
  await until('inbound serves', async () => (await plainCall(inboundPort, '/')).body === 'app')

  await t.test('inbound it blocks the chain, because it may be what keeps somebody out', async () => {
    istiod.write('filter', lua('SIDECAR_INBOUND'))
    const { problems, config } = await edge.status('blocked', (s) =>
      s.problems.some((p) => p.code === 'MESH_CHAIN_BLOCKED'),
    )
    assert.match(
      problems[0]!.text,
      new RegExp(`^listener ${NODE_IP.replaceAll('.', '\\.')}_${inboundPort} refuses what comes: .*lua`),
    )
    assert.deepEqual(config.rejected, [])
    const seen = app.seen.length
    assert.notEqual((await plainCall(inboundPort, '/')).status, 200)
    assert.equal(app.seen.length, seen, 'the application has not seen it')
    assert.equal((await edge.get(url)).body, 'orders', 'outbound is untouched')
  })
  await t.test('outbound it is left out and reported', async () => {
    istiod.write('filter', lua('SIDECAR_OUTBOUND'))
    await until('inbound serves again', async () => (await plainCall(inboundPort, '/')).body === 'app')
    const { config, problems } = await edge.status('reported', (s) =>
      s.config.ignored.some((i) => /lua/i.test(i.field)),
    )
    assert.deepEqual([problems, config.rejected], [[], []])
    assert.equal((await edge.get(url)).body, 'orders')
  })
  await t.test('gone', async () => {
    istiod.remove('filter')
    await edge.status('forgotten', (s) => !s.config.ignored.some((i) => /lua/i.test(i.field)))
  })
  assert.equal(await istiod.metric('pilot_total_xds_rejects'), 0)
})
