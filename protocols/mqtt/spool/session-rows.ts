/**
 * Tracks which sessions have a row. A session without anything to store has none, so its first stored item writes the
 * row as well. Later items write it again until a commit has confirmed the row, because the first transaction may fail.
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
