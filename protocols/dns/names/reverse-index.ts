/**
 * The mesh's names by address, for whoever asks the other way (`dig -x`, logs that show peers by name). Istio's agent
 * passes that on, to resolvers that know no address of 240.240.0.0/16.
 */
import { ipBytes } from '../../../model/ip.ts'
import type { NamedHost, Names } from '../../../model/tables.ts'
import { encodeName } from '../codec/wire.ts'

/** Clients show one; the others are for people. */
const MAX_NAMES = 8

type Named = { readonly name: string; readonly host: NamedHost; readonly wire: Buffer }

/** Made at the first such question: a pass over the whole table. */
export class ReverseIndex {
  readonly #byAddress = new Map<string, Named[]>()

  constructor(names: Names) {
    for (const [name, host] of names) {
      // A wildcard is no name of a host.
      const wire = name.startsWith('*') ? undefined : encodeName(name)
      if (!wire) continue
      for (const address of new Set(host.addresses.map(keyOfAddress))) {
        const known = this.#byAddress.get(address)
        if (known) known.push({ name, host, wire })
        else this.#byAddress.set(address, [{ name, host, wire }])
      }
    }
  }

  /**
   * Names of the address that `name` asks for, in wire form, the most particular first; undefined when the mesh has
   * none.
   */
  find(name: string): readonly Buffer[] | undefined {
    const key = keyOfName(name)
    return key === undefined
      ? undefined
      : this.#byAddress
          .get(key)
          ?.toSorted(order)
          .slice(0, MAX_NAMES)
          .map((n) => n.wire)
  }
}

/**
 * Of a headless service's addresses each is one pod's: that is its name, and not the service's (as Kubernetes' DNS has
 * it).
 */
function order(a: Named, b: Named): number {
  return (
    a.host.addresses.length - b.host.addresses.length ||
    Number(b.host.service !== undefined) - Number(a.host.service !== undefined) ||
    (a.name < b.name ? -1 : 1)
  )
}

function keyOfAddress(address: string): string {
  return Buffer.from(ipBytes(address) ?? []).toString('hex')
}

/** RFC 1035 §3.5 and RFC 3596 §2.5: the address backwards, all of it. */
function keyOfName(name: string): string | undefined {
  const v4 = /^(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})\.in-addr\.arpa$/.exec(name)?.[1]
  // Only the usual form is an address: no leading zeros, nothing above 255.
  if (v4 !== undefined) {
    const bytes = ipBytes(v4.split('.').toReversed().join('.'))
    return bytes && Buffer.from(bytes).toString('hex')
  }
  return /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1]?.replaceAll('.', '').split('').toReversed().join('')
}
