/**
 * Virtual hosts of which few are ever asked for: a table of a thousand services has ten thousand domains. Each is eight
 * bytes here, its hash and which host has it; whether it is the domain itself, the host's bytes tell.
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

/** VirtualHost.domains */
const DOMAINS = 2
/** A double holds a hash of 32 bits and a number of 21. */
const MAX_HOSTS = 2 ** 21

export class LazyHosts implements HostIndex {
  readonly wildcards: [domain: string, host: HostSource][] = []
  readonly #o: LazyHostsOptions
  readonly #spans: Uint32Array
  /** Those that were asked for. */
  readonly #known = new Map<number, HostSource>()
  /** hash × MAX_HOSTS + host, as they were added; of each host they stand together. */
  #added: number[] | Float64Array = []
  readonly #addedFrom: Uint32Array
  readonly #addedTo: Uint32Array
  readonly #withWildcards = new Set<number>()
  /** The same, ascending. */
  #keys: Float64Array | undefined

  /** @throws RangeError when there are more than two million */
  constructor(spans: readonly Span[], options: LazyHostsOptions) {
    if (spans.length > MAX_HOSTS) throw new RangeError(`${spans.length} virtual hosts are too many`)
    this.#o = options
    this.#spans = new Uint32Array(spans.length * 2)
    this.#addedFrom = new Uint32Array(spans.length)
    this.#addedTo = new Uint32Array(spans.length)
    for (const [i, { from, to }] of spans.entries()) {
      this.#spans[i * 2] = from
      this.#spans[i * 2 + 1] = to
    }
  }

  get size(): number {
    return this.#addedFrom.length
  }

  /** All of them are added, in any order, before the first is asked for. @param domains lower case */
  add(host: number, domains: readonly string[]): void {
    const added = this.#openAdded()
    this.#addedFrom[host] = added.length
    for (const domain of domains) {
      if (isWildcard(domain)) {
        this.wildcards.push([domain, this.#host(host)])
        this.#withWildcards.add(host)
      } else added.push(hashOf(domain) * MAX_HOSTS + host)
    }
    this.#addedTo[host] = added.length
  }
  /** As `add`, of a host that stands in another table with the same bytes. */
  addAs(host: number, { hosts: other, no }: { readonly hosts: LazyHosts; readonly no: number }): void {
    if (other.#withWildcards.has(no)) {
      this.add(host, this.domainsOf(host))
      return
    }
    const added = this.#openAdded()
    this.#addedFrom[host] = added.length
    for (let i = other.#addedFrom[no]!; i < other.#addedTo[no]!; i++)
      added.push(Math.floor(other.#added[i]! / MAX_HOSTS) * MAX_HOSTS + host)
    this.#addedTo[host] = added.length
  }
  #openAdded(): number[] {
    if (!Array.isArray(this.#added)) throw new Error('a host was added after one was asked for')
    return this.#added
  }

  /** Those of which a domain may stand twice in the table; of all others none does. In the order of the table. */
  listSuspects(): number[] {
    const keys = (this.#keys ??= this.#sorted())
    const suspects = new Set(this.#withWildcards)
    for (let i = 1; i < keys.length; i++) {
      const [one, other] = [keys[i - 1]!, keys[i]!]
      if (Math.floor(one / MAX_HOSTS) !== Math.floor(other / MAX_HOSTS)) continue
      suspects.add(one % MAX_HOSTS)
      suspects.add(other % MAX_HOSTS)
    }
    return [...suspects].toSorted((a, b) => a - b)
  }
  /** The host of that number is known already. Before it is asked for. */
  keep(no: number, host: VirtualHost): void {
    this.#known.set(no, { value: host })
  }
  /** @throws RangeError for bytes that are no protobuf */
  addAll(): void {
    for (let host = 0; host < this.#spans.length / 2; host++) this.add(host, this.domainsOf(host))
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
    this.#added = Float64Array.from(this.#added)
    return this.#added.toSorted()
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

function firstAtLeast(keys: Float64Array, key: number): number {
  let low = 0
  for (let high = keys.length; low < high;) {
    const middle = (low + high) >>> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
