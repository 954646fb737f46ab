/** Ready when no latch is held. What waits has a name, and /ready says which names are still missing. */
export class Readiness {
  readonly #pending = new Map<string, number>()
  readonly #waiting = new Set<() => void>()

  /** `using _ = readiness.hold('identity certified')`: held until disposed. */
  hold(name: string): Disposable {
    this.#pending.set(name, (this.#pending.get(name) ?? 0) + 1)
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (held) {
          held = false
          this.#release(name)
        }
      },
    }
  }
  get pending(): readonly string[] {
    return [...this.#pending.keys()].sort()
  }
  get ready(): boolean {
    return this.#pending.size === 0
  }
  /** Resolves once nothing is held. */
  async whenReady(): Promise<void> {
    if (!this.ready)
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
      })
  }

  #release(name: string): void {
    const left = (this.#pending.get(name) ?? 1) - 1
    if (left > 0) {
      this.#pending.set(name, left)
      return
    }
    this.#pending.delete(name)
    if (this.ready) {
      for (const resolve of this.#waiting) resolve()
      this.#waiting.clear()
    }
  }
}
