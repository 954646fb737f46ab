/**
 * Where in a JSON text something stands. JSON.parse is many times faster than anything that keeps positions, so they
 * are looked for when there is something to say.
 */

/** The text is JSON: JSON.parse took it. */
export class JsonPlaces {
  readonly #text: string
  #lineStarts: number[] | undefined
  /** The last that was asked for. */
  #list: { readonly at: number; readonly items: readonly number[] } | undefined
  constructor(text: string) {
    this.#text = text
  }

  /** From 1. */
  lineAt(offset: number): number {
    const starts = (this.#lineStarts ??= lineStarts(this.#text))
    let [low, high] = [0, starts.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (starts[middle]! <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Where the item of that number begins. The items of one list are found once. */
  item(offset: number, i: number): number | undefined {
    if (this.#list?.at !== offset) this.#list = { at: offset, items: [...this.items(offset)] }
    return this.#list.items[i]
  }

  /** Nothing for what is no object. */
  *members(offset: number): Iterable<{ readonly key: string; readonly start: number; readonly value: number }> {
    const text = this.#text
    let at = this.#blank(offset)
    if (text[at] !== '{') return
    for (at = this.#blank(at + 1); text[at] === '"'; at = this.#blank(at + 1)) {
      const end = this.#string(at)
      const value = this.#blank(this.#blank(end) + 1)
      yield { key: JSON.parse(text.slice(at, end)) as string, start: at, value }
      at = this.#blank(this.#skip(value))
      if (text[at] !== ',') return
    }
  }

  /** Where each item begins; nothing for what is no list. */
  *items(offset: number): Iterable<number> {
    let at = this.#blank(offset)
    if (this.#text[at] !== '[') return
    at = this.#blank(at + 1)
    if (this.#text[at] === ']') return
    for (;;) {
      yield at
      at = this.#blank(this.#skip(at))
      if (this.#text[at] !== ',') return
      at = this.#blank(at + 1)
    }
  }

  #blank(from: number): number {
    let at = from
    while (at < this.#text.length && this.#text.charCodeAt(at) <= 0x20) at++
    return at
  }
  /** Behind the string that begins at `at`. */
  #string(from: number): number {
    let at = from + 1
    for (; at < this.#text.length; at++) {
      const c = this.#text.charCodeAt(at)
      if (c === 0x5c) at++
      else if (c === 0x22) break
    }
    return at + 1
  }
  /** Behind the value that begins at `from`. */
  #skip(from: number): number {
    let depth = 0
    for (let at = from; at < this.#text.length; at++) {
      const c = this.#text[at]!
      if (c === '"') {
        at = this.#string(at) - 1
        if (depth === 0) return at + 1
      } else if (c === '{' || c === '[') depth++
      else if (c === '}' || c === ']') {
        if (depth === 0) return at
        if (--depth === 0) return at + 1
      } else if (c === ',' && depth === 0) return at
    }
    return this.#text.length
  }
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}
