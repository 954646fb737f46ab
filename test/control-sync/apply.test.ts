import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, toBinary } from '@bufbuild/protobuf'
import { Current } from '../../core/current.ts'
import { EMPTY_TABLES, type Tables } from '../../model/tables.ts'
import type { Change } from '../../control-sync/apply.ts'
import { decode } from '../../control-sync/decode/decode.ts'
import { loadFullRegistry } from '../../proto/full/registry.ts'
import { sample } from '../helpers/control-plane/resources.ts'
import { SimClock } from '../helpers/sim-clock.ts'
import { bareApplier } from '../helpers/control-plane/applier.ts'

/** Every look at it takes a millisecond, so that work takes time. */
class BusyClock extends SimClock {
  #looks = 0
  override monotonicMs(): number {
    return this.#looks++
  }
  get looks(): number {
    return this.#looks
  }
}

const HOSTS = 100
const vhost = (i: number): object => ({
  name: `v${i}`,
  domains: [`v${i}.example`],
  routes: [{ match: { prefix: '/' }, route: { cluster: 'c' } }],
})
const routes: Change = {
  kind: 'route',
  removed: [],
  put: [
    sample({
      '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
      name: 't',
      virtual_hosts: Array.from({ length: HOSTS }, (_, i) => vhost(i)),
    } as Parameters<typeof sample>[0]),
  ].map(incoming),
}
const clusters: Change = {
  kind: 'cluster',
  removed: [],
  put: Array.from({ length: HOSTS }, (_, i) =>
    incoming(sample({ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: `c${i}`, type: 'STATIC' })),
  ),
}
function incoming({ name, bytes }: { name: string; bytes: Uint8Array }): Change['put'][number] {
  return { name, version: '', value: bytes }
}

const MANY = 5_000
const largeHost = (more: object = {}): Parameters<typeof sample>[0] =>
  ({
    '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
    name: 't',
    virtual_hosts: [
      {
        name: 'v',
        domains: ['*'],
        include_attempt_count_in_response: true,
        routes: Array.from({ length: MANY }, (_, i) => ({ match: { prefix: `/r${i}` }, route: { cluster: `c${i}` } })),
        ...more,
      },
    ],
  }) as Parameters<typeof sample>[0]

test('one virtual host with many routes lets traffic pass while it is checked, and is what it would be as a whole', async () => {
  const change: Change = { kind: 'route', removed: [], put: [incoming(sample(largeHost()))] }
  assert.ok((await turnsOf(change)) >= 4)
  const tables = new Current<Tables>(EMPTY_TABLES)
  const applier = bareApplier({ tables })
  await applier.apply([change])
  const whole = decode('route', change.put[0]!.value)
  assert.ok(whole.ok)
  assert.deepEqual(tables.get().routes('t')!.virtualHost('any.example'), whole.value.virtualHosts[0])
  assert.deepEqual(
    applier.ignored.map((i) => i.fields),
    [whole.ignored],
  )
})
test('a large virtual host with a mistake in one route, or in itself, is blocked as a small one is', async () => {
  for (const more of [{ matcher: {} }, { domains: [] }]) {
    const json = largeHost(more)
    const schema = loadFullRegistry().getMessage('envoy.config.route.v3.RouteConfiguration')!
    const { '@type': _, ...rest } = json
    const value = toBinary(schema, fromJson(schema, rest, { registry: loadFullRegistry() }))
    const applier = bareApplier()
    const { rejected } = await applier.apply([{ kind: 'route', removed: [], put: [{ name: 't', version: '', value }] }])
    const whole = decode('route', value)
    assert.ok(whole.ok)
    assert.deepEqual(
      rejected.flatMap((r) => r.issues),
      whole.blocked,
      JSON.stringify(more),
    )
  }
})

async function turnsOf(change: Change): Promise<number> {
  const applier = bareApplier({ clock: new BusyClock() })
  let [turns, done] = [0, false]
  const traffic = (): void => {
    if (!done) {
      turns++
      setImmediate(traffic)
    }
  }
  setImmediate(traffic)
  const { changed } = await applier.apply([change])
  done = true
  assert.equal(changed, change.put.length)
  return turns
}

test('listeners that come by the hundred are made in slices, too, not when the tables are swapped', async () => {
  const listeners: Change = {
    kind: 'listener',
    removed: [],
    put: Array.from({ length: HOSTS }, (_, i) =>
      incoming(
        sample({
          '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
          name: `l${i}`,
          traffic_direction: 'OUTBOUND',
          address: { socket_address: { address: '127.0.0.1', port_value: 1_000 + i } },
          filter_chains: [
            {
              filters: [
                {
                  name: 'tcp',
                  typed_config: {
                    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
                    stat_prefix: 's',
                    cluster: 'c',
                  },
                },
              ],
            },
          ],
        } as Parameters<typeof sample>[0]),
      ),
    ),
  }
  // Each is looked at twice: when it comes, and when it is made.
  assert.ok((await turnsOf(listeners)) >= HOSTS / 4, `${await turnsOf(listeners)} turns`)
})

test('a push of many resources, and one resource with many virtual hosts, let traffic pass while they are applied', async () => {
  // A slice is 5 ms, a look is 1 ms, each step looks once or twice.
  for (const change of [clusters, routes]) assert.ok((await turnsOf(change)) >= HOSTS / 10, change.kind)
})

test('changes in a row: the end of one and the beginning of the next are no longer than a slice and a step', async () => {
  const clock = new BusyClock()
  const applier = bareApplier({ clock })
  let [longest, last, done] = [0, 0, false]
  const traffic = (): void => {
    longest = Math.max(longest, clock.looks - last)
    last = clock.looks
    if (!done) setImmediate(traffic)
  }
  setImmediate(traffic)
  const some = (from: number): Change => ({ ...clusters, put: clusters.put.slice(from, from + 8) })
  await Promise.all([0, 8, 16, 24].map((from) => applier.apply([some(from)])))
  done = true
  assert.equal(applier.snapshot.resources.cluster.size, 32)
  assert.ok(longest <= 8, `${longest} ms`)
})

test('a kind is heard of once what was said of it is in force, be it that there are none; a refused resource says nothing', async () => {
  const tables = new Current<Tables>(EMPTY_TABLES)
  const applier = bareApplier({ tables })
  await applier.apply([
    { kind: 'nameTable', put: [{ name: '', version: '', value: Buffer.from([0xff]) }], removed: [] },
  ])
  assert.deepEqual([applier.rejected.length, [...applier.heard]], [1, []])
  const heardAtSwap: boolean[] = []
  tables.watch((next) => {
    heardAtSwap.push(applier.heard.has('nameTable') && !next.names)
  })
  const names = sample({
    '@type': 'type.googleapis.com/istio.networking.nds.v1.NameTable',
    table: { 'a.b': { ips: ['1.1.1.1'] } },
  })
  await applier.apply([
    { kind: 'nameTable', put: [incoming(names)], removed: [] },
    { kind: 'cluster', put: [], removed: [] },
  ])
  assert.deepEqual(
    [heardAtSwap, [...applier.heard].toSorted(), tables.get().names?.size],
    [[false], ['cluster', 'nameTable'], 1],
  )
})
