/** First in, first out, without moving the remaining items. The caller bounds its size. */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  #head = 0
  get size(): number {
    return this.#items.length - this.#head
  }
  push(item: T): void {
    this.#items.push(item)
  }
  first(): T | undefined {
    return this.#items[this.#head]
  }
  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (this.size === 0) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#items.length = 0
      this.#head = 0
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
  clear(): void {
    this.#items.length = 0
    this.#head = 0
  }
}
