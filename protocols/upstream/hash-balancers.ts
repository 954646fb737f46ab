/** Consistent hashing: most requests keep their host when hosts come or go (envoy ring_hash, maglev). */
import type { Random } from '../../core/os/clock.ts'
import { hash32 } from '../http/filters/hash.ts'
import type { Host, Picker, Weighed } from './host.ts'

/** A ring of points, several per host by weight; the next point clockwise serves. */
export function createRingPicker(
  hosts: readonly Weighed[],
  { minRing, maxRing }: { readonly minRing: number; readonly maxRing: number },
  random: Random,
): Picker {
  const total = hosts.reduce((sum, h) => sum + h.weight, 0)
  const size = Math.min(maxRing, Math.max(minRing, hosts.length))
  const points = hosts.flatMap(({ host, weight }) =>
    Array.from({ length: Math.max(1, Math.round((size * weight) / total)) }, (_, i) => ({
      at: hash32(`${host.key}_${i}`),
      host,
    })),
  )
  points.sort((a, b) => a.at - b.at)
  return (hash) => {
    const wanted = hash ?? Math.floor(random.float() * 2 ** 32)
    let low = 0
    let high = points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (points[middle]!.at < wanted) low = middle + 1
      else high = middle
    }
    return points[low === points.length ? 0 : low]!.host
  }
}

/** Maglev (Eisenbud et al., NSDI 2016, §3.4): every host fills a table of prime size in its own order, in turns. */
export function createMaglevPicker(hosts: readonly Weighed[], tableSize: number, random: Random): Picker {
  const table: (Host | undefined)[] = Array.from({ length: tableSize }, () => undefined)
  const heaviest = Math.max(...hosts.map((h) => h.weight))
  const orders = hosts.map(({ host, weight }) => ({
    host,
    weight,
    offset: hash32(host.key) % tableSize,
    skip: (hash32(`${host.key}#`) % (tableSize - 1)) + 1,
    next: 0,
    credit: 0,
  }))
  for (let filled = 0; filled < tableSize;) {
    for (const order of orders) {
      order.credit += order.weight / heaviest
      if (order.credit < 1 || filled === tableSize) continue
      order.credit -= 1
      let at: number
      do {
        at = (order.offset + order.skip * order.next++) % tableSize
      } while (table[at])
      table[at] = order.host
      filled++
    }
  }
  return (hash) => table[(hash ?? Math.floor(random.float() * 2 ** 32)) % tableSize]
}
