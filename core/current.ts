/** A change that can be put in force at once. Disposed of without it, it never was. */
export type Prepared = Disposable & {
  /** Does not fail. */
  commit(): void
}

/** One immutable value, replaced whole. Readers take it once per connection or request and never see half a change. */
export class Current<T> {
  #value: T
  readonly #watchers = new Set<(next: T, previous: T) => void>()
  constructor(first: T) {
    this.#value = first
  }
  get(): T {
    return this.#value
  }
  swap(next: T): void {
    const previous = this.#value
    this.#value = next
    for (const watch of this.#watchers) watch(next, previous)
  }
  /** Called after each swap, not for the value at hand. Disposing stops it. */
  watch(fn: (next: T, previous: T) => void): Disposable {
    this.#watchers.add(fn)
    return {
      [Symbol.dispose]: () => {
        this.#watchers.delete(fn)
      },
    }
  }
}
