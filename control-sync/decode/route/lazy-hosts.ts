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
  #added: number[] = []
  /** hash × MAX_HOSTS + host, ascending. */
  #keys: Float64Array | undefined

  /** @throws RangeError when there are more than two million */
  constructor(spans: readonly Span[], options: LazyHostsOptions) {
    if (spans.length > MAX_HOSTS) throw new RangeError(`${spans.length} virtual hosts are too many`)
    this.#o = options
    this.#spans = new Uint32Array(spans.length * 2)
    for (const [i, { from, to }] of spans.entries()) {
      this.#spans[i * 2] = from
      this.#spans[i * 2 + 1] = to
    }
  }

  /** All of them are added, in any order, before the first is asked for. @param domains lower case */
  add(host: number, domains: readonly string[]): void {
    for (const domain of domains) {
      if (isWildcard(domain)) this.wildcards.push([domain, this.#host(host)])
      else this.#added.push(hashOf(domain) * MAX_HOSTS + host)
    }
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
    const keys = Float64Array.from(this.#added).sort()
    this.#added = []
    return keys
  }

  #host(no: number): HostSource {
    const known = this.#known.get(no)
    if (known) return known
    const host = new LazyHost(() => {
      const { from, to } = this.#span(no)
      return this.#o.decode(Uint8Array.from(this.#o.view().subarray(from, to)), no)
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
