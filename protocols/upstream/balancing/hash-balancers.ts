/**
 * Consistent hashing: most requests keep their host when hosts come or go. Hosts are placed exactly as Envoy's
 * ring_hash and maglev place them, so that a client that changes from one proxy to the other meets the same host.
 */
import type { Random } from '../../../core/os/clock.ts'
import { hashInto, hash64 } from '../../xx-hash.ts'
import type { Balancer } from '../../../model/cluster.ts'
import type { Host, Picker, Weighed } from '../host.ts'

type HashBalancer = Extract<Balancer, { kind: 'ring-hash' | 'maglev' }>

/** @param hosts weights of all together are at most 1 */
export function createHashPicker(balancer: HashBalancer, hosts: readonly Weighed[], random: Random): Picker {
  const keyed = hosts.map((one) => ({ ...one, key: findHashKey(one.host, balancer) }))
  return balancer.kind === 'maglev'
    ? createMaglevPicker(keyed, balancer.tableSize, random)
    : createRingPicker(keyed, balancer, random)
}

/** Parts of 1, by the hosts' own weights. */
export function computeWeights(hosts: readonly Host[], share = 1): Weighed[] {
  const total = hosts.reduce((sum, h) => sum + h.weight, 0)
  return hosts.map((host) => ({ host, weight: (share * host.weight) / total }))
}

type Keyed = Weighed & { readonly key: string }

/** Envoy's text of the address, or the host name where the cluster asks for that. */
function findHashKey({ endpoint, key }: Host, { byHostname }: HashBalancer): string {
  if (byHostname) return endpoint.hostname ?? key
  return endpoint.address.includes(':') ? `[${endpoint.address}]:${endpoint.port}` : key
}

const drawHash = (random: Random): bigint =>
  (BigInt(Math.floor(random.float() * 2 ** 32)) << 32n) | BigInt(Math.floor(random.float() * 2 ** 32))

/** A ring of points, several per host by weight; the next point clockwise serves. */
function createRingPicker(
  hosts: readonly Keyed[],
  { minRing, maxRing }: { readonly minRing: number; readonly maxRing: number },
  random: Random,
): Picker {
  const least = Math.min(...hosts.map((h) => h.weight))
  // The least host gets a whole number of points.
  const scale = Math.min(Math.ceil(least * minRing) / least, maxRing)
  const size = Math.ceil(scale) + hosts.length
  const [high, low, hostOf] = [new Uint32Array(size), new Uint32Array(size), new Uint32Array(size)]
  let count = 0
  // Of all hosts so far, so that fractions do not get lost.
  let target = 0
  for (const [no, { key, weight }] of hosts.entries()) {
    target += scale * weight
    for (let i = 0; count < target && count < size; i++, count++) {
      hashInto(`${key}_${i}`, (h, l) => {
        high[count] = h
        low[count] = l
      })
      hostOf[count] = no
    }
  }
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort(
    (a, b) => high[a]! - high[b]! || low[a]! - low[b]!,
  )
  return (hash, attempt = 0) => {
    const wanted = hash ?? drawHash(random)
    const at = findPoint(order, { high, low }, wanted)
    return hosts[hostOf[order[(at + attempt) % count]!]!]!.host
  }
}

/** The first point at or behind the hash; behind the last one comes the first. */
function findPoint(
  order: Uint32Array,
  { high, low }: { readonly high: Uint32Array; readonly low: Uint32Array },
  wanted: bigint,
): number {
  const [wantedHigh, wantedLow] = [Number(wanted >> 32n), Number(wanted & 0xffff_ffffn)]
  let from = 0
  let to = order.length
  while (from < to) {
    const middle = (from + to) >>> 1
    const point = order[middle]!
    if (high[point]! < wantedHigh || (high[point] === wantedHigh && low[point]! < wantedLow)) from = middle + 1
    else to = middle
  }
  return from === order.length ? 0 : from
}

/** Maglev (Eisenbud et al., NSDI 2016, §3.4): every host fills a table of prime size in its own order, in turns. */
function createMaglevPicker(hosts: readonly Keyed[], tableSize: number, random: Random): Picker {
  const table = new Int32Array(tableSize).fill(-1)
  const heaviest = Math.max(...hosts.map((h) => h.weight))
  const [size, steps] = [BigInt(tableSize), BigInt(tableSize - 1)]
  const orders = hosts
    .map(({ key, weight }, no) => ({ key, weight, no, at: 0, skip: 0, due: 0 }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  for (const order of orders) {
    order.at = Number(hash64(order.key) % size)
    order.skip = Number(hash64(order.key, 1n) % steps) + 1
  }
  let filled = 0
  for (let turn = 1; filled < tableSize; turn++)
    for (const order of orders) {
      if (filled === tableSize) break
      if (turn * order.weight < order.due) continue
      order.due += heaviest
      while (table[order.at] !== -1) order.at = (order.at + order.skip) % tableSize
      table[order.at] = order.no
      filled++
    }
  return (hash, attempt = 0) => {
    const first = hash ?? drawHash(random)
    // Envoy: most bits change, so that retries do not all meet one host.
    const wanted = attempt > 0 ? first ^ BigInt.asUintN(64, -BigInt(attempt)) : first
    return hosts[table[Number(wanted % size)]!]!.host
  }
}
