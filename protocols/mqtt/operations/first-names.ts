/** Finds the first names of a large set in order, without sorting the set. */
export type NamePage = { readonly names: readonly string[]; readonly total: number; readonly next: string | undefined }
export type PageOf = { readonly prefix: string; readonly after: string | undefined; readonly limit: number }

export class FirstNames {
  readonly #of: PageOf
  readonly #names: string[] = []
  #total = 0
  #isCut = false

  constructor(of: PageOf) {
    this.#of = of
  }

  add(name: string): void {
    const { prefix, after, limit } = this.#of
    if (!name.startsWith(prefix)) return
    this.#total++
    if (after !== undefined && name <= after) return
    const names = this.#names
    if (names.length >= limit) {
      this.#isCut = true
      if (name >= names.at(-1)!) return
      names.pop()
    }
    let [low, high] = [0, names.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (names[middle]! < name) low = middle + 1
      else high = middle
    }
    names.splice(low, 0, name)
  }

  /** `next`: what to ask for next as `after`; undefined when this was the last page. `total`: all with the prefix. */
  get page(): NamePage {
    return { names: this.#names, total: this.#total, next: this.#isCut ? this.#names.at(-1) : undefined }
  }
}
