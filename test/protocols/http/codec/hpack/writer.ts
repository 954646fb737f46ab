/** Header blocks byte by byte: every representation of RFC 7541 §6, with and without Huffman codes, right or wrong. */
import { HUFFMAN_LENGTHS } from '../../../../../protocols/http/codec/hpack/huffman.ts'

export const EOS = 256

/** RFC 7541 §5.1. @param first the octet's bits before the prefix */
export function integer(first: number, prefixBits: number, value: number): Buffer {
  const mask = 2 ** prefixBits - 1
  if (value < mask) return Buffer.from([first | value])
  const octets = [first | mask]
  let rest = value - mask
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push(128 + (rest % 128))
  return Buffer.from([...octets, rest])
}

export function plain(text: string): Buffer {
  return Buffer.concat([integer(0, 7, text.length), Buffer.from(text, 'latin1')])
}

export function huffman(text: string): Buffer {
  return huffmanOf([...Buffer.from(text, 'latin1')])
}

/** @param padding bits; otherwise as many of EOS as fill the last octet */
export function huffmanOf(symbols: readonly number[], padding?: string): Buffer {
  const bits = symbols.map((symbol) => CODES[symbol]!).join('')
  const all = bits + (padding ?? '1'.repeat((8 - (bits.length % 8)) % 8))
  const octets = Buffer.from(all.match(/.{8}/g)?.map((octet) => parseInt(octet, 2)) ?? [])
  return Buffer.concat([integer(0x80, 7, octets.length), octets])
}

export type Kind = 'indexing' | 'without' | 'never'
const KINDS = { indexing: [0x40, 6], without: [0x00, 4], never: [0x10, 4] } as const

export const indexed = (index: number): Buffer => integer(0x80, 7, index)
export const sizeUpdate = (bytes: number): Buffer => integer(0x20, 5, bytes)

/** @param name an index, or an encoded string */
export function literal(kind: Kind, name: number | Buffer, value: Buffer): Buffer {
  const [first, bits] = KINDS[kind]
  if (typeof name === 'number') return Buffer.concat([integer(first, bits, name), value])
  return Buffer.concat([Buffer.from([first]), name, value])
}

/** As a client does that indexes and Huffman-codes all it sends; its table has room for 4096 bytes. */
export function indexEverything(lists: readonly (readonly string[])[]): Buffer[] {
  const table: { name: string; value: string; size: number }[] = []
  let tableBytes = 0
  return lists.map((list) => {
    const parts: Buffer[] = []
    for (let i = 0; i < list.length; i += 2) {
      const [name, value] = [list[i]!, list[i + 1]!]
      const age = table.findIndex((entry) => entry.name === name && entry.value === value)
      if (age >= 0) {
        parts.push(indexed(62 + age))
        continue
      }
      parts.push(literal('indexing', huffman(name), huffman(value)))
      const size = name.length + value.length + 32
      table.unshift({ name, value, size })
      tableBytes += size
      while (tableBytes > 4096) tableBytes -= table.pop()!.size
    }
    return Buffer.concat(parts)
  })
}

/** As strings of bits; the code is canonical (RFC 7541 §5.2). */
const CODES = codes()
function codes(): string[] {
  const found: string[] = []
  let code = 0
  let length = 0
  const order = HUFFMAN_LENGTHS.map((bits, symbol) => ({ bits, symbol })).sort(
    (a, b) => a.bits - b.bits || a.symbol - b.symbol,
  )
  for (const { bits, symbol } of order) {
    code *= 2 ** (bits - length)
    length = bits
    found[symbol] = code.toString(2).padStart(bits, '0')
    code++
  }
  return found
}
