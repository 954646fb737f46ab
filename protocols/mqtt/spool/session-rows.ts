/**
 * Which sessions have a row. One that holds nothing has none, so what comes first for it brings the row along, and
 * again until a commit has told that it is there: the transaction of the first may fail.
 */
type Row = { isDurable: boolean; isGoing: boolean }

export class SessionRows {
  readonly #rows = new Map<string, Row>()

  noteRestored(clientId: string): void {
    this.#rows.set(clientId, { isDurable: true, isGoing: false })
  }
  /** It has a row, or may have one. */
  has(clientId: string): boolean {
    return this.#rows.has(clientId)
  }
  isDurable(clientId: string): boolean {
    const row = this.#rows.get(clientId)
    return row !== undefined && row.isDurable && !row.isGoing
  }
  /** It is written. @returns to be called when that is durable */
  put(clientId: string): () => void {
    let row = this.#rows.get(clientId)
    // What is deleted is another's; this one comes behind it.
    if (!row || row.isGoing) this.#rows.set(clientId, (row = { isDurable: false, isGoing: false }))
    const written = row
    return () => {
      written.isDurable = true
    }
  }
  /** It is deleted. @returns to be called when that is durable */
  drop(clientId: string): () => void {
    const row = this.#rows.get(clientId)
    if (row) row.isGoing = true
    return () => {
      if (this.#rows.get(clientId) === row) this.#rows.delete(clientId)
    }
  }
}
