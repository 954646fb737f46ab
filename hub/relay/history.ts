/**
 * Resources that were sent a while ago: what a device that comes back says it has is among them, and what is new in a
 * resource is told against them. In memory; after a restart of the hub devices say what they have in full.
 */
import type { Metrics } from '../../core/metrics.ts'
import { packAgainst } from '../../core/relay/compression.ts'
import { computeDigest } from '../../proto/relay/digest.ts'
import type { ByName, HubResource, ResourceSet } from '../source/resources.ts'

/** Of one type. Nodes with folders of their own have sets of their own. */
const MAX_SETS = 64

export class History {
  /** By type, the one that was used last at the end. */
  readonly #sets = new Map<string, Set<ByName>>()
  readonly #digests = new WeakMap<ByName, Buffer>()
  /** What makes a resource of an earlier version of it, by that version: asked for once for each device. */
  readonly #differences = new WeakMap<HubResource, Map<string, Uint8Array | undefined>>()

  constructor(metrics: Metrics) {
    metrics.gaugeOf(
      'mesh_hub_relay_sets',
      'Sets of resources, present and earlier ones, that devices on the relay are told the difference to.',
      () => [...this.#sets.values()].reduce((sum, sets) => sum + sets.size, 0),
    )
  }

  /** What is sent from now on. */
  note({ types }: ResourceSet): void {
    for (const [typeUrl, named] of types) {
      const sets = this.#sets.get(typeUrl) ?? new Set()
      this.#sets.set(typeUrl, sets)
      sets.delete(named)
      sets.add(named)
      for (const oldest of sets) {
        if (sets.size <= MAX_SETS) break
        sets.delete(oldest)
      }
    }
  }

  /** Undefined: no set of that digest is known. */
  find(typeUrl: string, digest: Uint8Array): ByName | undefined {
    return [...(this.#sets.get(typeUrl) ?? [])].findLast((named) => this.#digestOf(named).equals(digest))
  }

  /** What makes `resource` of its version `base`; undefined where that is unknown, or as long as the resource itself. */
  difference(resource: HubResource, base: string): Uint8Array | undefined {
    const known = this.#differences.get(resource) ?? new Map<string, Uint8Array | undefined>()
    this.#differences.set(resource, known)
    if (known.has(base)) return known.get(base)
    const before = this.#valueOf(resource, base)
    if (!before) return undefined
    const packed = packAgainst(before, resource.value)
    const difference = packed.length < resource.value.length ? packed : undefined
    known.set(base, difference)
    return difference
  }

  #valueOf({ typeUrl, name }: HubResource, version: string): Uint8Array | undefined {
    for (const named of this.#sets.get(typeUrl) ?? []) {
      const before = named.get(name)
      if (before?.version === version) return before.value
    }
    return undefined
  }
  #digestOf(named: ByName): Buffer {
    const known = this.#digests.get(named)
    if (known) return known
    const digest = computeDigest([...named.values()].map(({ name, version }) => [name, version] as const))
    this.#digests.set(named, digest)
    return digest
  }
}
