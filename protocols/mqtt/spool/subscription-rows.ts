/**
 * Collects the changes of subscriptions for one transaction: the last change of each filter, in two statements per
 * session. One statement per filter would cost more in SQLite, and on the way to its thread, than the row itself.
 */
import type { Statement } from '../../../core/storage/storage.ts'
import type { StoredSubscription } from '../durability.ts'
import { listSubscriptionValues } from './rows.ts'
import { SQL } from './schema.ts'

export class SubscriptionRows {
  /** By the session's row key, then by filter; undefined = is to be gone. */
  readonly #changed = new Map<string, Map<string, StoredSubscription | undefined>>()

  change(name: string, kept: readonly StoredSubscription[], gone: readonly string[]): void {
    let rows = this.#changed.get(name)
    if (!rows) this.#changed.set(name, (rows = new Map()))
    for (const filter of gone) rows.set(filter, undefined)
    for (const one of kept) rows.set(one.filter, one)
  }
  /** The session's rows are all to be gone, by a statement that comes before these. */
  forget(name: string): void {
    this.#changed.delete(name)
  }

  takeStatements(): Statement[] {
    const statements: Statement[] = []
    for (const [name, rows] of this.#changed) {
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
}
