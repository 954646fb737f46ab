/** RFC 7541 appendix B and §5.2: every symbol, the examples of the RFC, and every wrong end. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  decodeHuffman,
  HUFFMAN_LENGTHS,
  computeMaxDecodedBytes,
} from '../../../../../protocols/http/codec/hpack/huffman.ts'

function decode(bytes: Uint8Array): string | undefined {
  const out = Buffer.alloc(computeMaxDecodedBytes(bytes.length))
  const length = decodeHuffman(bytes, 0, bytes.length, out)
  return length < 0 ? undefined : out.toString('latin1', 0, length)
}
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** The canonical code from its lengths (§5.2), as strings of bits. */
const CODES: string[] = []
{
  let code = 0n
  let length = 0
  const order = HUFFMAN_LENGTHS.map((bits, symbol) => ({ bits, symbol })).sort(
    (a, b) => a.bits - b.bits || a.symbol - b.symbol,
  )
  for (const { bits, symbol } of order) {
    code <<= BigInt(bits - length)
    length = bits
    CODES[symbol] = code.toString(2).padStart(bits, '0')
    code++
  }
}
const bytesOf = (bits: string): Uint8Array => {
  const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1')
  return Uint8Array.from(padded.match(/.{8}/g) ?? [], (b) => parseInt(b, 2))
}

test('codes of appendix B', () => {
  assert.equal(CODES[0x30], '00000')
  assert.equal(CODES[0x61], '00011')
  assert.equal(CODES[0x00], '1111111111000')
  assert.equal(CODES[0xff], '11111111111111111111101110')
  assert.equal(CODES[256], '1'.repeat(30))
})
test('every symbol, alone and behind every other', () => {
  for (let a = 0; a < 256; a++) {
    assert.equal(decode(bytesOf(CODES[a]!)), String.fromCharCode(a))
    for (const b of [0, 48, 97, 255]) assert.equal(decode(bytesOf(CODES[a]! + CODES[b]!)), String.fromCharCode(a, b))
  }
})
for (const { coded, text } of [
  { coded: 'f1e3 c2e5 f23a 6ba0 ab90 f4ff', text: 'www.example.com' },
  { coded: 'a8eb 1064 9cbf', text: 'no-cache' },
  { coded: '25a8 49e9 5ba9 7d7f', text: 'custom-key' },
  { coded: '', text: '' },
])
  test(`appendix C: ${text}`, () => {
    assert.equal(decode(hex(coded)), text)
  })
for (const { name, bits } of [
  { name: 'padding of more than 7 bits', bits: `${CODES[0x30]!}${'1'.repeat(11)}` },
  { name: 'padding of 8 bits', bits: `${CODES[38]!}${'1'.repeat(8)}` },
  { name: 'padding of zeros', bits: `${CODES[0x58]!.slice(0, 5)}000`.padStart(8, '0').slice(0, 5) + '110' },
  { name: 'padding that is not all ones', bits: `${CODES[0x30]!}110` },
  { name: 'EOS', bits: CODES[256]! },
  { name: 'EOS behind a symbol', bits: CODES[0x30]! + CODES[256]! },
])
  test(`a decoding error: ${name}`, () => {
    assert.equal(decode(bytesOf(bits)), undefined)
  })
