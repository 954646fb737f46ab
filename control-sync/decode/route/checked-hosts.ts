/**
 * The virtual hosts of a route table in which the check found nothing to report, and the clusters that each names. A
 * service more brings the whole table again; what stands in it with the same bytes needs no second check.
 */
import crypto from 'node:crypto'

const DIGEST_BYTES = 6

export class CheckedHosts {
  readonly #outside: number
  /** By digest of a host's bytes. */
  readonly #clusters = new Map<number, readonly string[]>()

  /** @param outside bytes of the table without its hosts, which say how hosts are read */
  constructor(outside: Uint8Array) {
    this.#outside = hashBytes(outside)
  }

  /** The hosts of a table that is the same but for its hosts. */
  static of(known: CheckedHosts | undefined, outside: Uint8Array): CheckedHosts | undefined {
    return known && known.#outside === hashBytes(outside) ? known : undefined
  }

  add(host: number, clusters: readonly string[]): void {
    this.#clusters.set(host, clusters)
  }
  /** Names of clusters, undefined for a host that has to be checked. */
  find(host: number): readonly string[] | undefined {
    return this.#clusters.get(host)
  }
}

/**
 * A number, for it takes eight bytes. Two hosts of one digest, which chance does not bring, would hide a report; what is
 * served is decoded from the bytes.
 */
export function hashBytes(bytes: Uint8Array): number {
  return crypto.hash('sha256', bytes, 'buffer').readUIntBE(0, DIGEST_BYTES)
}
