/**
 * The virtual hosts of a route table in which the check found nothing to report, and the clusters that each names. A
 * service more brings the whole table again; what stands in it with the same bytes needs no second check.
 */
import { readNextField, readText } from '../../wire/fields.ts'
import type { LazyHosts } from './lazy-hosts.ts'

/** VirtualHost.name */
const NAME = 1

export class CheckedHosts {
  /** Of the same table. */
  readonly hosts: LazyHosts
  readonly #outside: Uint8Array
  /** By number of the host; undefined for one that has to be checked each time. */
  readonly #clusters: (readonly string[] | undefined)[] = []

  /** @param outside bytes of the table without its hosts, which say how hosts are read */
  constructor(outside: Uint8Array, hosts: LazyHosts) {
    this.#outside = outside
    this.hosts = hosts
  }

  /** In the order of the table. @param clusters undefined when something was reported, or may be the next time */
  add(clusters: readonly string[] | undefined): void {
    this.#clusters.push(clusters)
  }
  clustersOf(no: number): readonly string[] | undefined {
    return this.#clusters[no]
  }
  isReadAlike(outside: Uint8Array): boolean {
    return Buffer.compare(this.#outside, outside) === 0
  }
}

/** A host of the table before in which nothing was found to report. */
export type Twin = { readonly hosts: LazyHosts; readonly no: number; readonly clusters: readonly string[] }

/** Which host of the table before is the same, byte by byte. Of hosts that come in the table's order. */
export class SameHosts {
  readonly #checked: CheckedHosts
  readonly #before: LazyHosts
  /** Where the next one is if nothing has come or gone. */
  #next = 0
  #byName: ReadonlyMap<string, number> | undefined

  constructor(before: CheckedHosts) {
    this.#checked = before
    this.#before = before.hosts
  }

  find(host: Uint8Array): Twin | undefined {
    if (!this.#isSame(this.#next, host)) {
      this.#byName ??= this.#indexByName()
      const named = this.#byName.get(nameOf(host))
      if (named === undefined) return undefined
      this.#next = named
    }
    const no = this.#next++
    const clusters = this.#checked.clustersOf(no)
    return clusters && this.#isSame(no, host) ? { hosts: this.#before, no, clusters } : undefined
  }

  #isSame(no: number, host: Uint8Array): boolean {
    if (no >= this.#before.size || this.#before.lengthOf(no) !== host.length) return false
    return Buffer.compare(this.#before.bytesOf(no), host) === 0
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
