import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Hand } from '../helpers/control-plane/hand.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { settle } from '../helpers/sim-clock.ts'

const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`
const cluster = (name: string): Sample =>
  sample({ '@type': type('cluster.v3.Cluster'), name, type: 'EDS', eds_cluster_config: { eds_config: { ads: {} } } })
const load = (cluster_name: string): Sample =>
  sample({ '@type': type('endpoint.v3.ClusterLoadAssignment'), cluster_name })
const routes = (name: string): Sample => sample({ '@type': type('route.v3.RouteConfiguration'), name })

test('synced means whole: clusters, listeners and every endpoint set and route table that they name', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [cluster('c')])
  await hand.push('listener', [])
  assert.deepEqual(
    hand.sent.filter((r) => r.subscribe.length > 0).map((r) => [r.kind, r.subscribe]),
    [
      ['route', ['http_proxy']],
      ['endpoint', ['c']],
    ],
  )
  assert.equal(hand.synced, false, 'a request now would find no endpoint')
  await hand.push('endpoint', [load('c')])
  assert.equal(hand.synced, false, 'a request now would find no route')
  await hand.push('route', [routes('http_proxy')])
  assert.equal(hand.synced, true)
})

test('a message that said nothing new gives its memory back at once; one of which something is kept, or refused, does not', async () => {
  await using hand = new Hand()
  const broken: Sample = sample({ '@type': type('cluster.v3.Cluster'), name: 'b', type: 'EDS', connect_timeout: '-1s' })
  const first = await hand.pushMessage('cluster', [cluster('a'), cluster('b')])
  const same = await hand.pushMessage('cluster', [cluster('b'), cluster('a')])
  const refused = await hand.pushMessage('cluster', [cluster('a'), broken])
  const less = await hand.pushMessage('cluster', [cluster('a')], ['b'])
  assert.deepEqual(
    [first, same, refused, less].map((m) => m.length),
    [100_000, 0, 100_000, 100_000],
  )
  assert.deepEqual(
    [...hand.applier.snapshot.resources.cluster.values()].map((r) => Buffer.compare(r.value, cluster('a').bytes)),
    [0],
  )
})

test('a name that does not exist is answered as removed, and is not waited for', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [])
  await hand.push('listener', [])
  await hand.push('route', [], ['http_proxy'])
  assert.equal(hand.synced, true)
})

test('a name that nobody wants any more is not waited for', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [cluster('c')])
  await hand.push('listener', [])
  await hand.push('route', [routes('http_proxy')])
  assert.equal(hand.synced, false)
  await hand.push('cluster', [], ['c'])
  assert.equal(hand.synced, true)
})

test('what was unsubscribed and comes all the same is not kept', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [cluster('c'), cluster('gone')])
  await hand.push('listener', [])
  await hand.push('endpoint', [load('c'), load('gone')])
  await hand.push('cluster', [], ['gone'])
  assert.deepEqual(hand.sent.at(-1)?.unsubscribe, ['gone'])
  await hand.push('endpoint', [load('c'), load('gone')])
  assert.deepEqual([...hand.applier.snapshot.resources.endpoint.keys()], ['c'])
})

test('a control plane that is silent about a name is waited for 15 s, as Envoy does (initial_fetch_timeout)', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [])
  await hand.push('listener', [])
  await hand.clock.advance(14_999)
  assert.equal(hand.synced, false)
  await hand.clock.advance(1)
  assert.equal(hand.synced, true)
})

test('a secret that is said to be gone serves on while it is named, and goes with what named it', async () => {
  const tls = (name: string): Sample =>
    sample({
      '@type': type('cluster.v3.Cluster'),
      name: 'c',
      type: 'STATIC',
      transport_socket: {
        name: 'tls',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
          common_tls_context: { validation_context_sds_secret_config: { name } },
        },
      },
    })
  const roots = (name: string): Sample =>
    sample({
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
      name,
      validation_context: { trusted_ca: { inline_string: 'roots' } },
    })
  await using hand = new Hand()
  const held = (): string[] => [...hand.applier.snapshot.resources.secret.keys()]
  await hand.push('cluster', [tls('kubernetes://a-cacert')])
  await hand.push('secret', [roots('kubernetes://a-cacert')])
  await hand.push('secret', [], ['kubernetes://a-cacert'])
  assert.deepEqual(held(), ['kubernetes://a-cacert'])
  await hand.push('cluster', [tls('kubernetes://b-cacert')])
  assert.deepEqual(held(), [])
})

test('nothing more is read while what has come is not in force', async () => {
  await using hand = new Hand()
  await hand.push('cluster', [])
  assert.deepEqual(hand.reading.splice(0), ['paused', 'resumed'])
  // What the transport had in hand comes all the same.
  hand.say('cluster', [cluster('a')])
  hand.say('cluster', [cluster('b')])
  assert.deepEqual(hand.reading, ['paused'])
  await settle()
  assert.deepEqual(hand.reading, ['paused', 'resumed'])
  assert.deepEqual([...hand.applier.snapshot.resources.cluster.keys()], ['a', 'b'])
})
