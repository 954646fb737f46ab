/** The places are Envoy's: test/conformance/envoy/placement.test.ts asks it about the same balancers. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Balancer } from '../../../../model/cluster.ts'
import { computeWeights, createHashPicker } from '../../../../protocols/upstream/balancing/hash-balancers.ts'
import { Host } from '../../../../protocols/upstream/host.ts'
import { hash64 } from '../../../../protocols/xx-hash.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { endpoint } from '../../http/harness.ts'

const hostsOf = (...weights: number[]): Host[] =>
  weights.map((weight, i) => new Host(endpoint(`127.0.1.${i + 1}`, 80, { weight, hostname: `h${i}.test` })))
const RING: Extract<Balancer, { kind: 'ring-hash' }> = { kind: 'ring-hash', minRing: 1024, maxRing: 8 << 20 }
const MAGLEV: Extract<Balancer, { kind: 'maglev' }> = { kind: 'maglev', tableSize: 65_537 }

function places(balancer: Parameters<typeof createHashPicker>[0], hosts: readonly Host[], attempt = 0): string {
  const pick = createHashPicker(balancer, computeWeights(hosts), seededRandom(1))
  return Array.from({ length: 24 }, (_, i) => hosts.indexOf(pick(hash64(`key-${i}`), attempt)!)).join('')
}

for (const { name, balancer, weights, want } of [
  { name: 'ring_hash', balancer: RING, weights: [1, 1, 1], want: '121100221010210210012202' },
  { name: 'ring_hash by weights', balancer: RING, weights: [1, 7, 3], want: '121110121211212211111221' },
  {
    name: 'ring_hash of at most 7 points',
    balancer: { ...RING, minRing: 5, maxRing: 7 },
    weights: [1, 1, 1],
    want: '001221000010000012201000',
  },
  { name: 'maglev', balancer: MAGLEV, weights: [1, 1, 1], want: '121121002210200022101002' },
  { name: 'maglev by weights', balancer: MAGLEV, weights: [1, 7, 3], want: '121121011210212012101102' },
  {
    name: 'maglev by host names',
    balancer: { ...MAGLEV, byHostname: true },
    weights: [1, 1, 1],
    want: '221000222002200001221000',
  },
])
  test(`${name} places each request where Envoy does`, () => assert.equal(places(balancer, hostsOf(...weights)), want))

for (const balancer of [RING, MAGLEV]) {
  test(`${balancer.kind}: the order of the hosts does not matter where they weigh the same`, () => {
    const hosts = hostsOf(1, 1, 1, 1)
    const of = (some: readonly Host[]) => createHashPicker(balancer, computeWeights(some), seededRandom(1))
    const [one, other] = [of(hosts), of(hosts.toReversed())]
    for (let i = 0; i < 200; i++) assert.equal(one(hash64(`${i}`)), other(hash64(`${i}`)))
  })
  test(`${balancer.kind}: another attempt by the same hash goes elsewhere, and to the same place again`, () => {
    const hosts = hostsOf(1, 1, 1, 1, 1, 1)
    assert.notEqual(places(balancer, hosts, 1), places(balancer, hosts))
    assert.equal(places(balancer, hosts, 1), places(balancer, hosts, 1))
  })
  test(`${balancer.kind}: without a hash chance places it`, () => {
    const hosts = hostsOf(1, 1, 1)
    const pick = createHashPicker(balancer, computeWeights(hosts), seededRandom(1))
    assert.equal(new Set(Array.from({ length: 60 }, () => pick(undefined))).size, 3)
  })
}
test('an IPv6 address stands in brackets', () => {
  const hosts = ['::1', '::2', '::3'].map((address) => new Host(endpoint(address, 80)))
  const named = ['[::1]:80', '[::2]:80', '[::3]:80'].map((hostname, i) => new Host(endpoint(`h${i}`, 1, { hostname })))
  assert.equal(places(MAGLEV, hosts), places({ ...MAGLEV, byHostname: true }, named))
})
