/** Names that a control plane chooses, as labels of metrics: behind so many the others are one. */
const MAX_NAMES = 1_000
const OTHERS = 'others'

export class BoundedNames {
  readonly #names = new Set<string>()

  /** @returns the name, or that of the others */
  bound(name: string): string {
    if (this.#names.has(name)) return name
    if (this.#names.size >= MAX_NAMES) return OTHERS
    this.#names.add(name)
    return name
  }
}
