/** The revisions that devices are sent, in memory: a few, each once. */
import type { Clock } from '../../core/os/clock.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Registry } from '../registry/registry.ts'
import { CompiledRevision } from './compiled.ts'
import type { FolderRevision } from './folder.ts'

export type LiveRevisionsOptions = { readonly registry: Registry; readonly clock: Clock; readonly metrics: Metrics }

export class LiveRevisions {
  readonly #o: LiveRevisionsOptions
  readonly #live = new Map<string, Promise<CompiledRevision>>()

  constructor(o: LiveRevisionsOptions) {
    this.#o = o
    o.metrics.gaugeOf(
      'mesh_hub_revisions_live',
      'Revisions of the configuration that the hub has in memory, because devices have them or are to have them.',
      () => this.#live.size,
    )
  }

  /** From the registry where it is not at hand. Rejects with MESH_CONFIG_INVALID, MESH_STORAGE_FAILED. */
  get(id: string): Promise<CompiledRevision> {
    return this.#remember(id, async () =>
      CompiledRevision.compile(await this.#o.registry.revisions.load(id), this.#o.clock),
    )
  }
  /** The very resources that were read: what did not change since the revision before is there once. */
  add(revision: FolderRevision): Promise<CompiledRevision> {
    return this.#remember(revision.id, () => CompiledRevision.compile(revision, this.#o.clock))
  }
  /** All others may go. */
  retain(ids: ReadonlySet<string>): void {
    for (const id of this.#live.keys()) if (!ids.has(id)) this.#live.delete(id)
  }

  #remember(id: string, make: () => Promise<CompiledRevision>): Promise<CompiledRevision> {
    const known = this.#live.get(id)
    if (known) return known
    const compiled = make()
    this.#live.set(id, compiled)
    detach(
      'hub',
      compiled.catch(() => {
        if (this.#live.get(id) === compiled) this.#live.delete(id)
      }),
    )
    return compiled
  }
}
