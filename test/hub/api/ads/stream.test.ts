import { test } from 'node:test'
import assert from 'node:assert/strict'
import { status, type ServiceError } from '@grpc/grpc-js'
import type { DiscoveryResponse } from '../../../../proto/services.ts'
import { CLUSTER, ENDPOINT } from '../../../../hub/source/resources.ts'
import { bearer, DeltaStream, join, SotwStream, testHub } from '../../start-hub.ts'

const gateway = { namespace: 'edge', serviceAccount: 'gateway', nodes: '*' }
const cluster = (...names: string[]): string =>
  `resources:\n${names.map((name) => `- "@type": ${CLUSTER}\n  name: ${name}\n  type: EDS\n  connect_timeout: 2s\n  eds_cluster_config: {eds_config: {ads: {}}}\n`).join('')}`
const node = (name = 'edge', more: Record<string, string> = {}) => ({
  id: `sidecar~10.0.0.1~${name}.edge~edge.svc.cluster.local`,
  metadata: { NAME: name, NAMESPACE: 'edge', SERVICE_ACCOUNT: 'gateway', ...more },
})
const refused = (err: ServiceError, code: status, words: RegExp): void => {
  assert.equal(status[err.code], status[code], err.details)
  assert.match(err.details, words)
}
const names = (response: { readonly resources: readonly { readonly name: string }[] }): string[] =>
  response.resources.map((r) => r.name).sort()

test('delta: a device with a certificate gets its resources, and a changed file within a second', async (t) => {
  const h = await testHub(t)
  h.write('edge/clusters.yaml', cluster('a', 'b'))
  await h.taken()
  const stream = new DeltaStream(h.client(await join(h, (await h.hub.createToken(gateway)).token)))
  stream.ask({ node: node(), typeUrl: CLUSTER })
  const first = await stream.next()
  assert.deepEqual(names(first), ['a', 'b'])
  assert.equal(first.resources[0]!.resource!.typeUrl, CLUSTER)
  stream.ask({ typeUrl: CLUSTER, responseNonce: first.nonce })
  stream.ask({ typeUrl: ENDPOINT, resourceNamesSubscribe: ['a'] })
  assert.deepEqual((await stream.next()).removedResources, ['a'])
  const writtenMs = performance.now()
  h.write('edge/clusters.yaml', cluster('b', 'c'))
  assert.deepEqual(names(await stream.next()), ['c'])
  assert.deepEqual((await stream.next()).removedResources, ['a'])
  assert.ok(performance.now() - writtenMs < 5_000)
  const [device] = await h.hub.registry.devices()
  assert.deepEqual(
    [device?.name, device?.spiffeUri, device?.lastIp],
    ['edge', 'spiffe://demo.mesh/ns/edge/sa/gateway', '127.0.0.1'],
  )
  assert.match(device?.serial ?? '', /^[0-9a-f]{32}$/)
})

test('delta: a reconnect with the known versions moves nothing', async (t) => {
  const h = await testHub(t)
  h.write('edge/clusters.yaml', cluster('a', 'b'))
  await h.taken()
  const auth = bearer((await h.hub.createToken(gateway)).token)
  const first = new DeltaStream(h.client(), auth)
  first.ask({ node: node(), typeUrl: CLUSTER })
  const versions = Object.fromEntries((await first.next()).resources.map((r) => [r.name, r.version]))
  first.cancel()
  const again = new DeltaStream(h.client(), auth)
  again.ask({ node: node(), typeUrl: CLUSTER, initialResourceVersions: { ...versions, gone: 'x' } })
  const answer = await again.next()
  assert.deepEqual([names(answer), answer.removedResources], [[], ['gone']])
})

test('state of the world: a plain xDS client with a token gets whole types', async (t) => {
  const h = await testHub(t)
  h.write('shared.yaml', cluster('everybody'))
  h.write('envoy-1/own.yaml', cluster('mine'))
  await h.taken()
  const stream = new SotwStream(h.client(), bearer((await h.hub.createToken(gateway)).token))
  stream.ask({ node: { id: 'envoy-1' }, typeUrl: CLUSTER })
  const taken = async (): Promise<DiscoveryResponse> => {
    const response = await stream.next()
    stream.ask({ typeUrl: CLUSTER, responseNonce: response.nonce, versionInfo: response.versionInfo })
    return response
  }
  let first = await taken()
  while (first.resources.length < 2) first = await taken() // shared.yaml was written a moment ago
  h.write('envoy-1/own.yaml', cluster('mine', 'another'))
  const second = await taken()
  assert.equal(second.resources.length, 3)
  assert.notEqual(second.versionInfo, first.versionInfo)
})

test('a NACK is logged with node, type and problem', async (t) => {
  const h = await testHub(t)
  h.write('edge/clusters.yaml', cluster('a'))
  await h.taken()
  const stream = new DeltaStream(h.client(), bearer((await h.hub.createToken(gateway)).token))
  stream.ask({ node: node(), typeUrl: CLUSTER })
  const first = await stream.next()
  stream.ask({
    typeUrl: CLUSTER,
    responseNonce: first.nonce,
    errorDetail: { code: 13, message: 'cluster a: no such field' },
  })
  stream.ask({ typeUrl: ENDPOINT, resourceNamesSubscribe: ['a'] })
  await stream.next()
  const nack = h.lines.find((l) => l['evt'] === 'hub.nack')
  assert.deepEqual([nack?.['node'], nack?.['type'], nack?.['problem']], ['edge', CLUSTER, 'cluster a: no such field'])
  assert.equal(h.metrics.total('mesh_hub_ads_requests_total', { outcome: 'nack' }), 1)
})

test('who may not be the node is refused: no credentials, another namespace or service account, a name that belongs to another, no node', async (t) => {
  const h = await testHub(t)
  const token = async (namespace = 'edge', serviceAccount = 'gateway'): Promise<ReturnType<typeof bearer>> =>
    bearer((await h.hub.createToken({ namespace, serviceAccount, nodes: '*' })).token)
  const attempt = (
    metadata: ReturnType<typeof bearer>,
    message: Parameters<DeltaStream['ask']>[0],
  ): Promise<ServiceError> => {
    const stream = new DeltaStream(h.client(), metadata)
    stream.ask({ typeUrl: CLUSTER, ...message })
    return stream.error()
  }
  refused(await attempt(bearer(), { node: node() }), status.UNAUTHENTICATED, /MESH_CONTROL_UNAUTHENTICATED/)
  refused(
    await attempt(await token('cloud'), { node: node() }),
    status.PERMISSION_DENIED,
    /no identities \(spiffe:\/\/demo\.mesh\/ns\/cloud\/sa\/gateway\) matched edge\/gateway/,
  )
  refused(
    await attempt(await token('edge', 'other'), { node: node() }),
    status.PERMISSION_DENIED,
    /matched edge\/gateway/,
  )
  refused(
    await attempt(await token('edge'), { node: { id: 'sidecar~10.0.0.1~edge.cloud~cloud.svc' } }),
    status.PERMISSION_DENIED,
    /matched cloud/,
  )
  refused(await attempt(await token(), {}), status.INVALID_ARGUMENT, /missing node information/)
  refused(await attempt(await token(), { node: { id: '../../etc' } }), status.INVALID_ARGUMENT, /node's name/)
  refused(await attempt(await token(), { node: node('..') }), status.INVALID_ARGUMENT, /node's name/)
  const holder = new DeltaStream(h.client(), await token())
  holder.ask({ node: { id: 'shared-name' }, typeUrl: CLUSTER })
  await holder.next()
  refused(
    await attempt(await token('cloud'), { node: { id: 'shared-name' } }),
    status.PERMISSION_DENIED,
    /belongs to spiffe:\/\/demo\.mesh\/ns\/edge\/sa\/gateway.*devices forget/,
  )
})

test('limits: streams of one identity, streams in all, the size of a request', async (t) => {
  const h = await testHub(t, 'limits: {maxStreams: 3, maxStreamsPerIdentity: 2, maxRequestBytes: 2000}\n')
  const tokens = new Map<string, string>()
  for (const namespace of ['a', 'b', 'c']) {
    const nodes = `node-${namespace}`
    tokens.set(namespace, (await h.hub.createToken({ namespace, serviceAccount: 'gateway', nodes })).token)
  }
  const open = async (namespace: string): Promise<DeltaStream> => {
    const stream = new DeltaStream(h.client(), bearer(tokens.get(namespace)!))
    stream.ask({ node: { id: `node-${namespace}` }, typeUrl: CLUSTER })
    return stream
  }
  const [a, b] = [await open('a'), await open('a')]
  await Promise.all([a.next(), b.next()])
  refused(await (await open('a')).error(), status.RESOURCE_EXHAUSTED, /maxStreamsPerIdentity/)
  const c = await open('b')
  await c.next()
  refused(await (await open('c')).error(), status.RESOURCE_EXHAUSTED, /limits\.maxStreams/)
  c.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['x'.repeat(3_000)] })
  refused(await c.error(), status.RESOURCE_EXHAUSTED, /larger|max/i)
  a.cancel()
  // The places are free again once the hub has seen the ends.
  while (
    !(await (await open('a')).next().then(
      () => true,
      () => false,
    ))
  );
})

test('a hub that stops tells its streams that it is UNAVAILABLE', async (t) => {
  const h = await testHub(t)
  const stream = new DeltaStream(h.client(), bearer((await h.hub.createToken(gateway)).token))
  stream.ask({ node: node(), typeUrl: CLUSTER })
  await stream.next()
  await h.hub[Symbol.asyncDispose]()
  refused(await stream.error(), status.UNAVAILABLE, /./)
})

test('a client that ends its stream, cancels it or sends what is no message leaves nothing open', async (t) => {
  const h = await testHub(t)
  const auth = bearer((await h.hub.createToken(gateway)).token)
  const ended = new DeltaStream(h.client(), auth)
  ended.ask({ node: node(), typeUrl: CLUSTER })
  await ended.next()
  ended.end()
  const cancelled = new DeltaStream(h.client(), auth)
  cancelled.ask({ node: node(), typeUrl: CLUSTER })
  await cancelled.next()
  cancelled.cancel()
  const raw = h.client().makeBidiStreamRequest(
    '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
    (b: Buffer) => b,
    (b: Buffer) => b,
    auth,
  )
  raw.write(Buffer.from('ffffffffff', 'hex'))
  const err = await new Promise<ServiceError>((resolve) => {
    raw.once('error', resolve)
  })
  assert.equal(status[err.code], 'INTERNAL')
  while (!(h.lines.filter((l) => l['evt'] === 'hub.stream-end').length === 2))
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
})
