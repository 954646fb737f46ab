/**
 * Collects the changes of subscriptions for one transaction: the last change of each filter, in two statements per
 * session. One statement per filter would cost more in SQLite, and on the way to its thread, than the row itself.
 */
import type { Statement } from '../../../core/storage/storage.ts'
import type { Kept, StoredSubscription } from '../durability.ts'
import { toRowKey } from './row-key.ts'
import { listSubscriptionValues } from './rows.ts'
import { SQL } from './schema.ts'

type Changed = {
  readonly session: Kept
  /** By filter; undefined = is to be gone. */
  readonly rows: Map<string, StoredSubscription | undefined>
}

export class SubscriptionRows {
  /** By the session's row key. */
  readonly #changed = new Map<string, Changed>()

  change(session: Kept, kept: readonly StoredSubscription[], gone: readonly string[]): void {
    const name = toRowKey(session.clientId)
    let changed = this.#changed.get(name)
    if (!changed) this.#changed.set(name, (changed = { session, rows: new Map() }))
    const { rows } = changed
    for (const filter of gone) rows.set(filter, undefined)
    for (const one of kept) rows.set(one.filter, one)
  }
  /** The session's rows are all to be gone, by a statement that comes before these. */
  forget(name: string): void {
    this.#changed.delete(name)
  }

  takeStatements(): Statement[] {
    const statements: Statement[] = []
    for (const [name, { rows }] of this.#changed) {
      const [gone, kept]: [string[], unknown[]] = [[], []]
      // Without an entry made for each, as an iterator would.
      rows.forEach((one, filter) => {
        if (one) kept.push(listSubscriptionValues(name, one))
        else gone.push(filter)
      })
      if (gone.length > 0) statements.push({ sql: SQL.dropSubscriptions, params: [name, JSON.stringify(gone)] })
      if (kept.length > 0) statements.push({ sql: SQL.putSubscriptions, params: [name, JSON.stringify(kept)] })
    }
    return statements
  }
  /** The transaction is on the disk. */
  tellStored(): void {
    for (const { session, rows } of this.#changed.values())
      rows.forEach((one, filter) => session.noteStored?.(filter, one))
  }
}
