/** The fleet as the registry has it. Reading 10,000 rows takes the hub tens of milliseconds, so it rests (rested.ts). */
import type { Clock } from '../../../core/os/clock.ts'
import type { Registry } from '../../registry/registry.ts'
import type { DeviceRow } from '../schemas.ts'
import { Rested } from './rested.ts'
import { assembleRows, readSources } from './rows.ts'

export class FleetView {
  readonly #rows: Rested<ReadonlyMap<string, DeviceRow>>

  constructor(registry: Registry, clock: Clock) {
    this.#rows = new Rested(clock, async () => assembleRows(await readSources(registry), clock.wallMs()))
  }

  /** By name; the same map until it was read again. */
  rows(): Promise<ReadonlyMap<string, DeviceRow>> {
    return this.#rows.read()
  }
  /** Something was just changed here: the next who asks must see it. */
  forget(): void {
    this.#rows.forget()
  }
}

/** @returns rows that are new or other than before, and names that are gone */
export function findChanges(
  before: ReadonlyMap<string, DeviceRow>,
  now: ReadonlyMap<string, DeviceRow>,
): { readonly changed: readonly DeviceRow[]; readonly removed: readonly { name: string; namespace: string }[] } {
  const changed = [...now.values()].filter((row) => {
    const old = before.get(row.name)
    return old !== row && (!old || JSON.stringify(old) !== JSON.stringify(row))
  })
  const removed = [...before.values()].filter((row) => {
    const next = now.get(row.name)
    return !next || next.namespace !== row.namespace
  })
  return { changed, removed }
}
