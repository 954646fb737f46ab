/**
 * dns_lookup_family (envoy.config.cluster.v3.Cluster): which addresses of a name a STRICT_DNS or LOGICAL_DNS cluster
 * uses.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../../core/log.ts'
import type { DnsLookupFamily } from '../../../../model/cluster.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { DnsLoad, type Resolve, createResolve } from '../../../../protocols/upstream/discovery/dns.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { cluster, endpoint, GET, Harness, OK, ORIGIN } from '../../http/harness.ts'
import { byName } from '../../parts.ts'
import dgram from 'node:dgram'
import { once } from 'node:events'
import * as packets from 'dns-packet'

const V4 = ['10.0.0.1', '10.0.0.2']
const V6 = ['2001:db8::1', '2001:db8::2']
/** As getaddrinfo: a family without addresses is an error. */
const resolver =
  (names: Record<string, readonly string[]>, asked: (0 | 4 | 6)[] = []): Resolve =>
  async (name, family) => {
    asked.push(family)
    const found = (names[name] ?? []).filter((a) => family === 0 || a.includes(':') === (family === 6))
    if (found.length === 0) throw Object.assign(new Error(`ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
    return found
  }
const discovery = (lookupFamily: DnsLookupFamily | undefined, mode: 'strict' | 'logical' = 'strict') =>
  byName([endpoint('both.test', 80)], { mode, refreshMs: 5_000, ...(lookupFamily && { lookupFamily }) })
async function addresses(
  family: DnsLookupFamily | undefined,
  known: readonly string[],
  mode: 'strict' | 'logical' = 'strict',
): Promise<readonly string[] | string> {
  using load = new DnsLoad(discovery(family, mode), {
    clock: new SimClock(),
    resolve: resolver({ 'both.test': known }),
    log: silentLog,
  })
  try {
    await load.ready()
  } catch (err) {
    return (err as { code: string }).code
  }
  return load.current!.localities[0]!.endpoints.map((e) => e.address)
}

for (const [family, both, only4, only6] of [
  ['auto', V6, V4, V6],
  [undefined, V6, V4, V6],
  ['v4-preferred', V4, V4, V6],
  ['v4-only', V4, V4, 'MESH_DNS_FAILED'],
  ['v6-only', V6, 'MESH_DNS_FAILED', V6],
  ['all', [...V6, ...V4], V4, V6],
] as const) {
  test(`dns_lookup_family ${family ?? '(not said)'}: of a name with both families, with IPv4 alone, with IPv6 alone`, async () => {
    assert.deepEqual(
      [await addresses(family, [...V6, ...V4]), await addresses(family, V4), await addresses(family, V6)],
      [both, only4, only6],
    )
  })
}
test('a logical cluster uses one address of the family', async () => {
  assert.deepEqual(
    [await addresses('v4-only', [...V6, ...V4], 'logical'), await addresses('auto', [...V6, ...V4], 'logical')],
    [['10.0.0.1'], ['2001:db8::1']],
  )
})
test('the family that is not wanted is not asked for', async () => {
  const asked: (0 | 4 | 6)[] = []
  using load = new DnsLoad(discovery('v4-only'), {
    clock: new SimClock(),
    resolve: resolver({ 'both.test': [...V6, ...V4] }, asked),
    log: silentLog,
  })
  await load.ready()
  assert.deepEqual(asked, [4])
})
test('V4_ONLY where the IPv6 address of the name leads nowhere: every request is served', async () => {
  await using h = new Harness(
    [
      cluster([], {
        discovery: {
          ...discovery('v4-only'),
          load: {
            clusterName: 'c',
            localities: [
              {
                region: '',
                zone: '',
                subZone: '',
                priority: 0,
                weight: 1,
                endpoints: [endpoint('both.test', ORIGIN.port)],
              },
            ],
          },
        },
      }),
    ],
    {},
    resolver({ 'both.test': ['2001:db8::1', ORIGIN.host] }),
  )
  const origin = await h.origin()
  const client = h.connect()
  for (let i = 0; i < 10; i++) {
    await client.send(GET)
    await origin.answer(OK)
    assert.match(await client.take(), /200 OK/)
  }
})
/** As a control plane sends it, to what a client gets. */
for (const type of ['STRICT_DNS', 'LOGICAL_DNS']) {
  for (const [family, reached] of [
    ['AUTO', 'v6'],
    ['V4_ONLY', 'v4'],
    ['V6_ONLY', 'v6'],
    ['V4_PREFERRED', 'v4'],
    ['ALL', type === 'STRICT_DNS' ? 'v4 v6' : 'v6'],
  ] as const) {
    test(`a pushed ${type} cluster with ${family}, whose name has an A and an AAAA record: requests go to ${reached}`, async () => {
      const { bytes } = sample({
        '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
        name: 'origin',
        type,
        dns_lookup_family: family,
        connect_timeout: '1s',
        load_assignment: {
          cluster_name: 'origin',
          endpoints: [
            {
              lb_endpoints: [
                { endpoint: { address: { socket_address: { address: 'both.test', port_value: ORIGIN.port } } } },
              ],
            },
          ],
        },
      })
      const decoded = decode('cluster', bytes)
      assert.ok(decoded.ok)
      await using h = new Harness([decoded.value], {}, resolver({ 'both.test': ['2001:db8::1', ORIGIN.host] }))
      const origins = { v4: await h.origin(), v6: await h.origin({ host: '2001:db8::1', port: ORIGIN.port }) }
      const client = h.connect()
      for (let i = 0; i < 10; i++) {
        await client.send(GET)
        for (const peer of Object.values(origins).flatMap((origin) => origin.connections))
          if (peer.received !== '') {
            peer.received = ''
            await peer.send(OK)
          }
        assert.match(await client.take(), /200 OK/)
      }
      assert.equal(
        Object.entries(origins)
          .filter(([, origin]) => origin.connections.length > 0)
          .map(([name]) => name)
          .join(' '),
        reached,
      )
    })
  }
}

test('dns.upstreams are asked, and /etc/hosts before them; nobody else', async (t) => {
  const asked: string[] = []
  const server = dgram.createSocket('udp4')
  server.on('message', (bytes, from) => {
    const query = packets.decode(bytes)
    const { name, type } = query.questions![0]!
    asked.push(`${name} ${type}`)
    const answers: packets.Answer[] =
      name === 'svc.test' && type === 'A' ? [{ name, type: 'A', ttl: 1, data: '192.0.2.7' }] : []
    const flags = name === 'svc.test' ? 0 : 3
    server.send(packets.encode({ ...query, type: 'response', flags, answers }), from.port, from.address)
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  const resolve = createResolve([{ host: '127.0.0.1', port: server.address().port }], {
    timeoutMs: 2_000,
    findHost: (name) => (name === 'host.test' ? ['192.0.2.1', '2001:db8::1'] : []),
  })
  assert.deepEqual(await resolve('host.test', 0), ['192.0.2.1', '2001:db8::1'])
  assert.deepEqual(await resolve('host.test', 6), ['2001:db8::1'])
  assert.deepEqual(asked, [])
  assert.deepEqual(await resolve('svc.test', 0), ['192.0.2.7'])
  assert.deepEqual(await resolve('svc.test', 4), ['192.0.2.7'])
  assert.deepEqual(asked, ['svc.test AAAA', 'svc.test A', 'svc.test A'])
  await assert.rejects(resolve('none.test', 0))
})
