/** The Huffman code of RFC 7541 appendix B, read four bits at a time. */

/**
 * Bits per symbol, the last one EOS. The code is canonical (§5.2): shorter codes come first, codes of one length in the
 * order of their symbols, so that the lengths alone make it.
 */
export const HUFFMAN_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
]
const EOS = 256
/** RFC 7541 §5.2: padding of more than 7 bits is an error. */
const MAX_PADDING_BITS = 7

/** A node of the code's tree: for each bit the next node or, at a leaf, the symbol. */
type Node = { readonly id: number; readonly next: [Node | number | undefined, Node | number | undefined] }
type Nibble = { symbol: number | undefined; next: Node } | 'error'

const nodes: Node[] = []
const root = node()
growTree()

// A transition: bit 0 = error, bit 1 = a symbol is complete, bits 2 to 9 = this symbol, the rest = the next state. Four
// bits complete at most one symbol, as the shortest code has five.
const ERROR = 1
const EMITS = 2
/** By state and nibble. */
const TRANSITIONS = Int32Array.from(
  nodes.flatMap((from) => Array.from({ length: 16 }, (_, bits) => transition(from, bits))),
)
/** States in which a string may end: what was read of the next symbol is a prefix of EOS, all ones, short enough. */
const MAY_END = new Uint8Array(nodes.length)
markEnds()

/**
 * @param out has room for `maxDecodedBytes(end - start)`
 * @returns the number of bytes written; -1 for what RFC 7541 §5.2 calls a decoding error: EOS, too long a padding, or
 * one that is not all ones
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
  let state = 0
  let length = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    const high = TRANSITIONS[(state << 4) | (byte >> 4)]!
    if ((high & EMITS) !== 0) out[length++] = high >> 2
    const low = TRANSITIONS[((high >> 10) << 4) | (byte & 15)]!
    if ((low & EMITS) !== 0) out[length++] = low >> 2
    if (((high | low) & ERROR) !== 0) return -1
    state = low >> 10
  }
  return MAY_END[state] === 1 ? length : -1
}

/** The shortest code has five bits. */
export function computeMaxDecodedBytes(encodedBytes: number): number {
  return Math.ceil((encodedBytes * 8) / 5)
}

function node(): Node {
  const made: Node = { id: nodes.length, next: [undefined, undefined] }
  nodes.push(made)
  return made
}

function growTree(): void {
  const symbols = HUFFMAN_LENGTHS.map((bits, symbol) => ({ bits, symbol })).sort(
    (a, b) => a.bits - b.bits || a.symbol - b.symbol,
  )
  let code = 0
  let length = symbols[0]!.bits
  for (const { bits, symbol } of symbols) {
    code <<= bits - length
    length = bits
    addSymbol(symbol, code, bits)
    code++
  }
}

function addSymbol(symbol: number, code: number, bits: number): void {
  let at = root
  for (let i = bits - 1; i > 0; i--) {
    const bit = ((code >>> i) & 1) as 0 | 1
    const next = at.next[bit] ?? node()
    if (typeof next === 'number') throw new Error('a code is a prefix of another')
    at.next[bit] = next
    at = next
  }
  at.next[(code & 1) as 0 | 1] = symbol
}

function transition(from: Node, bits: number): number {
  const found = follow(from, bits)
  if (found === 'error') return ERROR
  return (found.next.id << 10) | (found.symbol === undefined ? 0 : (found.symbol << 2) | EMITS)
}

function follow(from: Node, bits: number): Nibble {
  let next = from
  let symbol: number | undefined
  for (let i = 3; i >= 0; i--) {
    const step = next.next[((bits >> i) & 1) as 0 | 1]
    if (step === undefined || step === EOS) return 'error'
    if (typeof step === 'number') symbol = step
    next = typeof step === 'number' ? root : step
  }
  return { symbol, next }
}

function markEnds(): void {
  let at: Node | number | undefined = root
  for (let bits = 0; bits <= MAX_PADDING_BITS && typeof at === 'object'; bits++) {
    MAY_END[at.id] = 1
    at = at.next[1]
  }
}
