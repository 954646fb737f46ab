/**
 * Virtual hosts of which few are ever asked for: a table of a thousand services has ten thousand domains. Each is
 * twelve bytes here, its hash and which host has it; whether it is the domain itself, the host's bytes tell.
 */
import type { VirtualHost } from '../../../model/route.ts'
import { isWildcard, type HostIndex, type HostSource } from '../../../model/tables.ts'
import { readNextField, readText } from '../../wire/fields.ts'

/** Where a host stands in its route table. */
export type Span = { readonly from: number; readonly to: number }

export type LazyHostsOptions = {
  /** The route table, good until others have a turn. */
  readonly view: () => Uint8Array
  /** @param no which host of the table. @throws for what is no protobuf */
  readonly decode: (host: Uint8Array, no: number) => VirtualHost | undefined
}

/** Hosts of a table that stand one after the other. */
export type HostRun = { readonly hosts: LazyHosts; readonly no: number; readonly count: number }

/** VirtualHost.domains */
const DOMAINS = 2
/** A double holds a hash of 32 bits and a number of 21. */
const MAX_HOSTS = 2 ** 21
/** They are looked for one by one; for more all are sorted. */
const FEW_DOMAINS = 128

export class LazyHosts implements HostIndex {
  readonly wildcards: [domain: string, host: HostSource][] = []
  readonly #o: LazyHostsOptions
  readonly #spans: Uint32Array
  /** Those that were asked for. */
  readonly #known = new Map<number, HostSource>()
  /** Of the domains of all hosts, in the order of the hosts; behind `#count` there is room for more. */
  #hashes = new Uint32Array(0)
  #count = 0
  /** Of each host, where its hashes end and those of the next begin. */
  readonly #ends: Uint32Array
  #added = 0
  readonly #withWildcards = new Set<number>()
  /** hash × MAX_HOSTS + host, ascending. */
  #keys: Float64Array | undefined
  /** Two domains may be one. Undefined: nobody has looked. */
  #hasTwice: boolean | undefined

  /** @throws RangeError when there are more than two million */
  constructor(spans: readonly Span[], options: LazyHostsOptions) {
    if (spans.length > MAX_HOSTS) throw new RangeError(`${spans.length} virtual hosts are too many`)
    this.#o = options
    this.#spans = new Uint32Array(spans.length * 2)
    this.#ends = new Uint32Array(spans.length)
    for (const [i, { from, to }] of spans.entries()) {
      this.#spans[i * 2] = from
      this.#spans[i * 2 + 1] = to
    }
  }

  get size(): number {
    return this.#ends.length
  }

  /** Of the next host; all are added before the first is asked for. @param domains lower case */
  add(domains: readonly string[]): void {
    const host = this.#added++
    this.#makeRoom(domains.length)
    for (const domain of domains) {
      if (isWildcard(domain)) {
        this.wildcards.push([domain, this.#host(host)])
        this.#withWildcards.add(host)
      } else this.#hashes[this.#count++] = hashOf(domain)
    }
    this.#ends[host] = this.#count
  }
  /** As `add`, of the next hosts, which stand in another table with the same bytes; one that has wildcards, alone. */
  addAs({ hosts: other, no, count }: HostRun): void {
    if (other.hasWildcards(no)) {
      this.add(this.domainsOf(this.#added))
      return
    }
    const from = other.#startOf(no)
    const hashes = other.#hashes.subarray(from, other.#ends[no + count - 1])
    this.#makeRoom(hashes.length)
    this.#hashes.set(hashes, this.#count)
    for (let i = 0; i < count; i++) this.#ends[this.#added + i] = other.#ends[no + i]! - from + this.#count
    this.#added += count
    this.#count += hashes.length
  }
  #makeRoom(more: number): void {
    if (this.#keys) throw new Error('a host was added after one was asked for')
    const length = this.#count + more
    if (length <= this.#hashes.length) return
    const larger = new Uint32Array(Math.max(length, this.#hashes.length * 2))
    larger.set(this.#hashes)
    this.#hashes = larger
  }
  hasWildcards(no: number): boolean {
    return this.#withWildcards.has(no)
  }

  /**
   * Those of which a domain may stand twice in the table; of all others none does. In the order of the table.
   * @param among of all others no domain stands twice; undefined: nothing is known of any
   */
  listSuspects(among?: Iterable<number>): number[] {
    const twice = this.#listTwice(among && [...among])
    this.#hasTwice = twice.length > 0
    return [...new Set([...this.#withWildcards, ...twice])].toSorted((a, b) => a - b)
  }
  /** No two hosts share a domain, but for wildcards; false also where nobody has looked. */
  get areDistinct(): boolean {
    return this.#hasTwice === false
  }

  #listTwice(among: readonly number[] | undefined): number[] {
    const read = among?.reduce((sum, no) => sum + this.#ends[no]! - this.#startOf(no), 0)
    if (read !== undefined && read <= FEW_DOMAINS) return among!.flatMap((no) => this.#findOthers(no))
    const keys = (this.#keys ??= this.#sorted())
    const twice: number[] = []
    for (let i = 1; i < keys.length; i++) {
      const [one, other] = [keys[i - 1]!, keys[i]!]
      if (Math.floor(one / MAX_HOSTS) === Math.floor(other / MAX_HOSTS)) twice.push(one % MAX_HOSTS, other % MAX_HOSTS)
    }
    return twice
  }
  /** A host and those with a domain that may be one of its own, in native code. Empty: there is none. */
  #findOthers(no: number): number[] {
    const hashes = this.#hashes.subarray(0, this.#count)
    const twice: number[] = []
    for (let i = this.#startOf(no); i < this.#ends[no]!; i++) {
      const hash = hashes[i]!
      for (let at = hashes.indexOf(hash); at >= 0; at = hashes.indexOf(hash, at + 1))
        if (at !== i) twice.push(no, this.#hostAt(at))
    }
    return twice
  }
  #startOf(no: number): number {
    return no === 0 ? 0 : this.#ends[no - 1]!
  }
  #hostAt(place: number): number {
    return firstAtLeast(this.#ends, place + 1)
  }
  /** The host of that number is known already. Before it is asked for. */
  keep(no: number, host: VirtualHost): void {
    this.#known.set(no, { value: host })
  }
  /** @throws RangeError for bytes that are no protobuf */
  addAll(): void {
    for (let host = 0; host < this.size; host++) this.add(this.domainsOf(host))
  }

  exact(domain: string): HostSource | undefined {
    const keys = (this.#keys ??= this.#sorted())
    const hash = hashOf(domain)
    for (
      let i = firstAtLeast(keys, hash * MAX_HOSTS);
      i < keys.length && Math.floor(keys[i]! / MAX_HOSTS) === hash;
      i++
    ) {
      const host = keys[i]! % MAX_HOSTS
      if (this.domainsOf(host).includes(domain)) return this.#host(host)
    }
    return undefined
  }

  #sorted(): Float64Array {
    const keys = new Float64Array(this.#count)
    for (let host = 0, i = 0; host < this.size; host++)
      for (; i < this.#ends[host]!; i++) keys[i] = this.#hashes[i]! * MAX_HOSTS + host
    return keys.sort()
  }

  #host(no: number): HostSource {
    const known = this.#known.get(no)
    if (known) return known
    const host = new LazyHost(() => {
      return this.#o.decode(Uint8Array.from(this.bytesOf(no)), no)
    })
    this.#known.set(no, host)
    return host
  }

  /** Lower case. @throws RangeError for bytes that are no protobuf */
  domainsOf(no: number): string[] {
    const bytes = this.#o.view()
    const { from, to } = this.#span(no)
    const domains: string[] = []
    const cursor = { at: from, from: 0, to: 0 }
    while (cursor.at < to) {
      const field = readNextField(bytes, cursor, to)
      if (field === 0) throw new RangeError(`no protobuf before byte ${to}`)
      if (field === DOMAINS && cursor.to >= 0) domains.push(readText(bytes, cursor).toLowerCase())
    }
    return domains
  }
  /** Good until others have a turn. */
  bytesOf(no: number): Uint8Array {
    const { from, to } = this.#span(no)
    return this.#o.view().subarray(from, to)
  }
  lengthOf(no: number): number {
    const { from, to } = this.#span(no)
    return to - from
  }
  /** Of hosts that follow one another, and of what stands between them. Good until others have a turn. */
  bytesOfRun(no: number, count: number): Uint8Array {
    return this.#o.view().subarray(this.#spans[no * 2], this.#spans[(no + count - 1) * 2 + 1])
  }
  #span(no: number): Span {
    return { from: this.#spans[no * 2]!, to: this.#spans[no * 2 + 1]! }
  }
}

class LazyHost implements HostSource {
  #make: (() => VirtualHost | undefined) | undefined
  #value: VirtualHost | undefined
  constructor(make: () => VirtualHost | undefined) {
    this.#make = make
  }

  get value(): VirtualHost | undefined {
    if (this.#make) {
      try {
        this.#value = this.#make()
      } catch {
        /* it has no routes */
      }
      this.#make = undefined
    }
    return this.#value
  }
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  return hash >>> 0
}

/** @param keys ascending */
function firstAtLeast(keys: Float64Array | Uint32Array, key: number): number {
  let low = 0
  for (let high = keys.length; low < high;) {
    const middle = (low + high) >>> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
