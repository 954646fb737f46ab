import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../core/current.ts'
import { MeshError } from '../../core/errors.ts'
import { silentLog } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { ResourceKind } from '../../model/snapshot.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import type { AdsRequest } from '../../control-sync/ads/protocol.ts'
import { Applier } from '../../control-sync/apply.ts'
import { startSync, type Sync } from '../../control-sync/sync.ts'
import type { AdsStreamEvents } from '../../control-sync/ads/transport.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { SimClock, settle } from '../helpers/sim-clock.ts'

const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`
const cluster = (name: string): Sample =>
  sample({ '@type': type('cluster.v3.Cluster'), name, type: 'EDS', eds_cluster_config: { eds_config: { ads: {} } } })
const load = (cluster_name: string): Sample =>
  sample({ '@type': type('endpoint.v3.ClusterLoadAssignment'), cluster_name })
const routes = (name: string): Sample => sample({ '@type': type('route.v3.RouteConfiguration'), name })

/** A control plane under the test's hand, and what the agent said to it. */
class Hand {
  readonly clock = new SimClock()
  readonly sent: AdsRequest[] = []
  readonly sync: Sync
  readonly applier: Applier
  synced = false
  #events: AdsStreamEvents | undefined
  #nonce = 0

  constructor() {
    const tables = new Current<Tables>(EMPTY_TABLES)
    const shared = { clock: this.clock, log: silentLog, metrics: new Metrics() }
    this.applier = new Applier({ ...shared, node: 'n', tables, saver: undefined })
    this.sync = startSync({
      ...shared,
      applier: this.applier,
      random: { float: () => 0.5 },
      shrinkHoldMs: 0,
      refusedRetryMs: 0,
      refusedRetryMaxMs: 1,
      trustBundle: false,
      ownRoutes: new Set(['http_proxy']),
      transport: {
        address: 'a:1',
        open: async (events) => {
          this.#events = events
          return {
            send: (r) => {
              this.sent.push(r)
            },
            close: () => {
              this.#events = undefined
            },
          }
        },
      },
    })
    void this.sync.synced.then(() => {
      this.synced = true
    })
  }
  async push(kind: ResourceKind, resources: readonly Sample[], removed: readonly string[] = []): Promise<void> {
    await settle()
    this.#events!.onResponse({
      kind,
      nonce: String(this.#nonce++),
      systemVersion: '',
      removed,
      resources: resources.map((r) => ({ name: r.name, version: '', value: r.bytes })),
    })
    await settle()
  }
  /** As gRPC gives it: the values are views of one large message. */
  async pushMessage(
    kind: ResourceKind,
    resources: readonly Sample[],
    removed: readonly string[] = [],
  ): Promise<Buffer> {
    await settle()
    const bytes = Buffer.alloc(100_000)
    let at = 0
    const views = resources.map((r) => {
      const value = bytes.subarray(at, at + r.bytes.length)
      value.set(r.bytes)
      at += r.bytes.length
      return { name: r.name, version: '', value }
    })
    this.#events!.onResponse({
      kind,
      nonce: String(this.#nonce++),
      systemVersion: '',
      removed,
      resources: views,
      bytes,
    })
    await settle()
    return bytes
  }
  end(reason = new MeshError('MESH_CONTROL_UNREACHABLE', 'cut')): void {
    this.#events!.onEnd(reason)
  }
  get isOpen(): boolean {
    return this.#events !== undefined
  }
}

test('synced means whole: clusters, listeners and every endpoint set and route table that they name', async () => {
  await using hand = wrap(new Hand())
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
  await using hand = wrap(new Hand())
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
  await using hand = wrap(new Hand())
  await hand.push('cluster', [])
  await hand.push('listener', [])
  await hand.push('route', [], ['http_proxy'])
  assert.equal(hand.synced, true)
})

test('a name that nobody wants any more is not waited for', async () => {
  await using hand = wrap(new Hand())
  await hand.push('cluster', [cluster('c')])
  await hand.push('listener', [])
  await hand.push('route', [routes('http_proxy')])
  assert.equal(hand.synced, false)
  await hand.push('cluster', [], ['c'])
  assert.equal(hand.synced, true)
})

test('what was unsubscribed and comes all the same is not kept', async () => {
  await using hand = wrap(new Hand())
  await hand.push('cluster', [cluster('c'), cluster('gone')])
  await hand.push('listener', [])
  await hand.push('endpoint', [load('c'), load('gone')])
  await hand.push('cluster', [], ['gone'])
  assert.deepEqual(hand.sent.at(-1)?.unsubscribe, ['gone'])
  await hand.push('endpoint', [load('c'), load('gone')])
  assert.deepEqual([...hand.applier.snapshot.resources.endpoint.keys()], ['c'])
})

test('a control plane that is silent about a name is waited for 15 s, as Envoy does (initial_fetch_timeout)', async () => {
  await using hand = wrap(new Hand())
  await hand.push('cluster', [])
  await hand.push('listener', [])
  await hand.clock.advance(14_999)
  assert.equal(hand.synced, false)
  await hand.clock.advance(1)
  assert.equal(hand.synced, true)
})

test('a stream that ends before all has come is no reason to serve half of it', async () => {
  await using hand = wrap(new Hand())
  await hand.push('cluster', [])
  await hand.push('listener', [])
  hand.end()
  await hand.clock.advance(60_000)
  assert.equal(hand.synced, false)
})

test('a night without a control plane does not make the first refusal after it wait for minutes; refusals in a row are asked for rarely', async () => {
  await using hand = wrap(new Hand())
  await settle()
  for (let i = 0; i < 500; i++) {
    if (hand.isOpen) hand.end()
    await hand.clock.advance(1_000)
  }
  while (!hand.isOpen) await hand.clock.advance(1_000)
  const waits: number[] = []
  for (let i = 0; i < 9; i++) {
    hand.end(new MeshError('MESH_CONTROL_TLS', 'the roots are others'))
    await settle()
    const fromMs = hand.clock.monotonicMs()
    while (!hand.isOpen) await hand.clock.advance(500)
    waits.push(hand.clock.monotonicMs() - fromMs)
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
})

function wrap(hand: Hand): Hand & AsyncDisposable {
  return Object.assign(hand, { [Symbol.asyncDispose]: () => hand.sync[Symbol.asyncDispose]() })
}
