/**
 * Large YAML in parts: a document tree of a text takes fifty times its length. A block sequence or mapping is cut where
 * its entries begin, by indentation alone; what cannot be cut so (anchors, flow collections over lines, directives) is
 * for the parser as a whole.
 */
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import { listYamlMistakes, PARSE_YAML } from '../../../core/yaml.ts'
import type { Tree } from './locate.ts'

/** Entries are parsed together up to so many characters. */
const PART_CHARS = 16 * 1024
const KEY = /^(?:([\w@./-]+)|"([^"\\]*)"|'([^']*)'):(?:[ \t]+(.*))?$/

/** Lines from `from` to before `to`; the first one without `skip` characters at its beginning. */
type Range = { readonly from: number; readonly to: number; readonly skip: number }
type Leaf = { readonly kind: 'leaf'; readonly range: Range; readonly json: unknown }
type Group = { readonly first: number; readonly count: number; readonly part: Part }
type Part =
  | Leaf
  | {
      readonly kind: 'seq'
      readonly range: Range
      readonly json: readonly unknown[]
      readonly groups: readonly Group[]
    }
  | {
      readonly kind: 'map'
      readonly range: Range
      readonly json: Readonly<Record<string, unknown>>
      readonly entries: readonly { readonly key: string; readonly line: number; readonly part: Part }[]
    }
export type Place = { readonly part: Part; readonly node?: undefined } | { readonly node: Node; readonly doc: Parsed }
type Parsed = { readonly document: Document.Parsed; readonly lines: LineCounter; readonly before: number }

class CannotBeCut extends Error {}

export class YamlParts {
  readonly root: Part
  readonly #lines: readonly string[]
  /** The last that was looked into. */
  #parsed: { readonly leaf: Leaf; readonly doc: Parsed } | undefined
  private constructor(text: string) {
    this.#lines = text.split(/\r?\n/)
    this.root = this.#part({ from: 0, to: this.#lines.length, skip: 0 })
  }

  /** Undefined for what has to be parsed as a whole. @throws RangeError for nesting so deep that the stack ends */
  static of(text: string): YamlParts | undefined {
    if (/^(?:%|---|\.\.\.)/m.test(text) || /(?:^|[\s[{,:-])(?:[&*][\w@]|![\w!<])/.test(text) || text.includes('\t'))
      return undefined
    try {
      return new YamlParts(text)
    } catch (err) {
      if (err instanceof CannotBeCut) return undefined
      throw err
    }
  }

  tree(): Tree<Place> {
    return {
      start: (place) => (place.node ? lineIn(place) : this.#firstLine(place.part.range) + 1),
      lineAt: (line) => line,
      item: (place, i) => this.#item(place, i),
      members: (place) => this.#members(place),
    }
  }

  #part(range: Range): Part {
    const first = this.#firstLine(range)
    if (first >= range.to || this.#length(range) <= PART_CHARS) return this.#leaf(range)
    const indent = this.#indent(first, range)
    const isSeq = /^-(?: |$)/.test(this.#text(first, range).trimStart())
    const starts: number[] = []
    for (let i = first; i < range.to; i++) {
      if (this.#isBlank(i, range)) continue
      const own = this.#indent(i, range)
      if (own < indent) throw new CannotBeCut()
      if (own > indent) continue
      const startsItem = /^-(?: |$)/.test(this.#text(i, range).trimStart())
      if (isSeq !== startsItem) {
        if (isSeq) throw new CannotBeCut()
        continue
      } // of a mapping: the sequence of the key above
      starts.push(i)
    }
    return isSeq ? this.#seq(range, starts, indent) : this.#map(range, starts)
  }

  #seq(range: Range, starts: readonly number[], indent: number): Part {
    const json: unknown[] = []
    const groups: Group[] = []
    for (let i = 0; i < starts.length;) {
      const from = starts[i]!
      let next = i + 1
      const end = (n: number): number => starts[n] ?? range.to
      while (next < starts.length && this.#length({ from, to: end(next + 1), skip: 0 }) <= PART_CHARS) next++
      const skip = from === range.from ? range.skip : 0
      const one = { from, to: end(next), skip }
      const large = next === i + 1 && this.#length(one) > PART_CHARS
      // The dash counts as a blank: what stands behind it keeps its column.
      const part = large ? this.#part({ ...one, skip: indent + 1 }) : this.#leaf(one)
      const found = large ? [part.json] : part.json
      if (!Array.isArray(found) || found.length !== next - i) throw new CannotBeCut()
      groups.push({ first: i, count: next - i, part })
      for (const value of found as unknown[]) json.push(value)
      i = next
    }
    return { kind: 'seq', range, json, groups }
  }

  #map(range: Range, starts: readonly number[]): Part {
    const entries = starts.map((line, i) => {
      const to = starts[i + 1] ?? range.to
      const match = KEY.exec(this.#text(line, range).trim())
      if (!match) throw new CannotBeCut()
      const key = match[1] ?? match[2] ?? match[3]!
      const rest = (match[4] ?? '').trim()
      if (rest === '' || rest.startsWith('#')) return { key, line, part: this.#part({ from: line + 1, to, skip: 0 }) }
      const leaf = this.#leaf({ from: line, to, skip: line === range.from ? range.skip : 0 })
      return { key, line, part: leaf }
    })
    const json: Record<string, unknown> = {}
    for (const { key, line, part } of entries) {
      if (Object.hasOwn(json, key) || key === '__proto__') throw new CannotBeCut()
      json[key] = isEntry(part, line) ? (part.json as Record<string, unknown>)[key] : part.json
    }
    return { kind: 'map', range, json, entries }
  }

  #leaf(range: Range): Leaf {
    const { document } = this.#parse(range)
    if (listYamlMistakes(document).length > 0) throw new CannotBeCut()
    return { kind: 'leaf', range, json: document.toJS() }
  }
  #parse(range: Range): Parsed {
    const lines = new LineCounter()
    const text = [this.#text(range.from, range), ...this.#lines.slice(range.from + 1, range.to)].join('\n')
    return { document: parseDocument(text, { ...PARSE_YAML, lineCounter: lines }), lines, before: range.from }
  }

  #into(leaf: Leaf): Place | undefined {
    if (this.#parsed?.leaf !== leaf) this.#parsed = { leaf, doc: this.#parse(leaf.range) }
    const { doc } = this.#parsed
    return doc.document.contents ? { node: doc.document.contents, doc } : undefined
  }

  #item(place: Place, i: number): Place | undefined {
    if (place.node) {
      const node = isSeq(place.node) ? (place.node.items[i] as Node | undefined) : undefined
      return node && { node, doc: place.doc }
    }
    const { part } = place
    if (part.kind === 'leaf') {
      const inside = this.#into(part)
      return inside && this.#item(inside, i)
    }
    const group = part.kind === 'seq' ? part.groups.find((g) => i >= g.first && i < g.first + g.count) : undefined
    if (!group) return undefined
    if (group.count > 1 || (group.part.kind === 'leaf' && Array.isArray(group.part.json))) {
      const inside = this.#into(group.part as Leaf)
      return inside && this.#item(inside, i - group.first)
    }
    return { part: group.part }
  }

  *#members(place: Place): Iterable<{ readonly key: string; readonly start: number; readonly value: Place }> {
    if (place.node) {
      if (!isMap(place.node)) return
      for (const { key, value } of place.node.items) {
        if (!isScalar(key)) continue
        const at: Place = { node: key as Node, doc: place.doc }
        yield { key: String(key.value), start: lineIn(at), value: value ? { node: value as Node, doc: place.doc } : at }
      }
      return
    }
    const { part } = place
    if (part.kind === 'leaf') {
      const inside = this.#into(part)
      if (inside) yield* this.#members(inside)
    }
    if (part.kind !== 'map') return
    for (const entry of part.entries) {
      const own = isEntry(entry.part, entry.line) ? this.#into(entry.part as Leaf) : undefined
      const value = own && [...this.#members(own)].find((m) => m.key === entry.key)?.value
      yield { key: entry.key, start: entry.line + 1, value: value ?? { part: entry.part } }
    }
  }

  #text(line: number, { from, skip }: Range): string {
    return line === from && skip > 0 ? ' '.repeat(skip) + this.#lines[line]!.slice(skip) : this.#lines[line]!
  }
  #indent(line: number, range: Range): number {
    return this.#text(line, range).search(/\S/)
  }
  #isBlank(line: number, range: Range): boolean {
    return /^ *(?:#|$)/.test(this.#text(line, range))
  }
  #firstLine(range: Range): number {
    let line = range.from
    while (line < range.to && this.#isBlank(line, range)) line++
    return line
  }
  #length({ from, to }: Range): number {
    let length = 0
    for (let i = from; i < to && length <= PART_CHARS; i++) length += this.#lines[i]!.length + 1
    return length
  }
}

/** A leaf that holds the key as well as its value. */
function isEntry(part: Part, line: number): boolean {
  return part.kind === 'leaf' && part.range.from === line
}

function lineIn({ node, doc }: Extract<Place, { node: Node }>): number {
  return doc.before + (doc.lines.linePos(node.range?.[0] ?? 0).line || 1)
}
