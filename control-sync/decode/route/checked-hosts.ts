/**
 * The virtual hosts of a route table in which the check found nothing to report, and the clusters that each names. A
 * service more brings the whole table again; what stands in it with the same bytes needs no second check.
 */
import { readNextField, readText } from '../../wire/fields.ts'
import type { HostRun, LazyHosts } from './lazy-hosts.ts'

/** VirtualHost.name */
const NAME = 1

export class CheckedHosts {
  /** Of the same table. */
  readonly hosts: LazyHosts
  readonly #outside: Uint8Array
  /** By number of the host; undefined for one that has to be checked each time. */
  readonly #clusters: (readonly string[] | undefined)[] = []
  /** 1: it is no part of a run. */
  readonly #isAlone: Uint8Array

  /** @param outside bytes of the table without its hosts, which say how hosts are read */
  constructor(outside: Uint8Array, hosts: LazyHosts) {
    this.#outside = outside
    this.hosts = hosts
    this.#isAlone = new Uint8Array(hosts.size)
  }

  /**
   * In the order of the table, after its domains. @param clusters undefined when something was reported, or may be the
   * next time
   */
  add(clusters: readonly string[] | undefined): void {
    const no = this.#clusters.push(clusters) - 1
    if (clusters === undefined || this.hosts.hasWildcards(no)) this.#isAlone[no] = 1
  }
  clustersOf(no: number): readonly string[] | undefined {
    return this.#clusters[no]
  }
  /** How many hosts from there on may be taken together; 0: its domains have to be read. */
  countTogether(no: number): number {
    const end = this.#isAlone.indexOf(1, no)
    return (end < 0 ? this.#isAlone.length : end) - no
  }
  isReadAlike(outside: Uint8Array): boolean {
    return Buffer.compare(this.#outside, outside) === 0
  }
}

/** Hosts of the table before in which nothing was found to report. */
export type Twins = HostRun & { readonly clusters: readonly (readonly string[])[] }

/** Some microseconds of work. */
const MAX_RUN = 256
/** To check as many costs less than to read the names of all. */
const FEW_MISSES = 4

/** Which hosts of the table before are the same, byte by byte. Of hosts that come in the table's order. */
export class SameHosts {
  readonly #checked: CheckedHosts
  readonly #before: LazyHosts
  readonly #now: LazyHosts
  /** Where the next one is if nothing has come or gone. */
  #next = 0
  /** 1: a host of the new table is this one. Of two with the same bytes the second has domains that are taken. */
  readonly #isTaken: Uint8Array
  #misses = 0
  #byName: ReadonlyMap<string, number> | undefined

  constructor(before: CheckedHosts, now: LazyHosts) {
    this.#checked = before
    this.#before = before.hosts
    this.#now = now
    this.#isTaken = new Uint8Array(before.hosts.size)
  }

  /**
   * Of this host, and of those that follow it in both tables. A host before that has moved may be taken for a new one.
   */
  find(no: number): Twins | undefined {
    const from = this.#place(no)
    if (from === undefined) return undefined
    this.#next = from + 1
    const count = this.#countSame(from, no)
    const clusters: (readonly string[])[] = []
    for (let i = from; i < from + count; i++) {
      const named = this.#checked.clustersOf(i)
      if (!named) return undefined
      clusters.push(named)
    }
    this.#isTaken.fill(1, from, from + count)
    this.#next = from + count
    return { hosts: this.#before, no: from, count, clusters }
  }

  #place(no: number): number | undefined {
    // Nothing differs here; or a host was changed, or is gone.
    for (const from of [this.#next, this.#next + 1]) if (this.#isFree(from, no)) return from
    if (++this.#misses <= FEW_MISSES) return undefined
    this.#byName ??= this.#indexByName()
    const named = this.#byName.get(nameOf(this.#now.bytesOf(no)))
    return named !== undefined && this.#isFree(named, no) ? named : undefined
  }
  #isFree(before: number, now: number): boolean {
    return this.#isTaken[before] === 0 && this.#areSame(before, now, 1)
  }

  /** Twice as many each time: what differs is found after few comparisons, what does not in few. */
  #countSame(before: number, now: number): number {
    const taken = this.#isTaken.indexOf(1, before)
    const most = Math.min(
      MAX_RUN,
      this.#checked.countTogether(before),
      (taken < 0 ? this.#before.size : taken) - before,
      this.#now.size - now,
    )
    let count = 1
    for (let more = 1; count < most; more *= 2) {
      const some = Math.min(more, most - count)
      if (!this.#areSame(before + count, now + count, some)) break
      count += some
    }
    return count
  }

  /** When the first are of one length and the bytes of all are equal, so is where each ends. */
  #areSame(before: number, now: number, count: number): boolean {
    if (before + count > this.#before.size || this.#before.lengthOf(before) !== this.#now.lengthOf(now)) return false
    return Buffer.compare(this.#before.bytesOfRun(before, count), this.#now.bytesOfRun(now, count)) === 0
  }
  #indexByName(): ReadonlyMap<string, number> {
    const byName = new Map<string, number>()
    for (let no = 0; no < this.#before.size; no++) byName.set(nameOf(this.#before.bytesOf(no)), no)
    return byName
  }
}

/** Empty also for bytes that are no protobuf, which the check tells. */
function nameOf(host: Uint8Array): string {
  const cursor = { at: 0, from: 0, to: 0 }
  while (cursor.at < host.length) {
    const field = readNextField(host, cursor, host.length)
    if (field === 0) break
    if (field === NAME && cursor.to >= 0) return readText(host, cursor)
  }
  return ''
}
