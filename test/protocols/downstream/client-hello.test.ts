/** ClientHellos made by hand, cut at every offset and broken one length at a time. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MAX_CLIENT_HELLO_BYTES, parseClientHello } from '../../../protocols/downstream/client-hello.ts'

const u16 = (n: number): number[] => [n >> 8, n & 255]
const text = (s: string): number[] => [...Buffer.from(s, 'latin1')]
const list8 = (bytes: number[]): number[] => [bytes.length, ...bytes]
const list16 = (bytes: number[]): number[] => [...u16(bytes.length), ...bytes]
const extension = (type: number, content: number[]): number[] => [...u16(type), ...list16(content)]
const serverName = (name: string, type = 0): number[] => extension(0, list16([type, ...list16(text(name))]))
const alpn = (...names: string[]): number[] => extension(16, list16(names.flatMap((n) => list8(text(n)))))
const body = (extensions: number[] | undefined): number[] => [
  3,
  3,
  ...Array<number>(32).fill(7),
  ...list8([1, 2, 3]),
  ...list16([0x13, 0x01]),
  ...list8([0]),
  ...(extensions ? list16(extensions) : []),
]
const handshake = (content: number[]): number[] => [1, 0, ...u16(content.length), ...content]
const record = (bytes: number[]): number[] => [22, 3, 1, ...list16(bytes)]
const hello = (...extensions: number[][]): Uint8Array => Uint8Array.from(record(handshake(body(extensions.flat()))))

for (const { name, bytes, found } of [
  {
    name: 'name and protocols',
    bytes: hello(extension(10, [0, 2, 0, 29]), serverName('A.test'), alpn('h2', 'http/1.1')),
    found: { serverName: 'a.test', alpn: ['h2', 'http/1.1'] },
  },
  { name: 'no extension', bytes: hello(), found: { serverName: '', alpn: [] } },
  {
    name: 'no list of extensions',
    bytes: Uint8Array.from(record(handshake(body(undefined)))),
    found: { serverName: '', alpn: [] },
  },
  { name: 'a name of another type', bytes: hello(serverName('a', 1)), found: { serverName: '', alpn: [] } },
])
  test(`${name}, cut at every offset`, () => {
    for (let length = 0; length < bytes.length; length++)
      assert.equal(parseClientHello(bytes.subarray(0, length)), 'short', `after ${length} bytes`)
    assert.deepEqual(parseClientHello(bytes), found)
  })

test('a hello over several records', () => {
  const whole = handshake(body([...serverName('a.test'), ...alpn('h2')]))
  const bytes = Uint8Array.from([
    ...record(whole.slice(0, 3)),
    ...record(whole.slice(3, 40)),
    ...record(whole.slice(40)),
  ])
  assert.deepEqual(parseClientHello(bytes), { serverName: 'a.test', alpn: ['h2'] })
})

for (const { name, bytes } of [
  { name: 'another record', bytes: [23, 3, 1, 0, 1, 1] },
  { name: 'another version', bytes: [22, 2] },
  { name: 'an empty record', bytes: [22, 3, 1, 0, 0] },
  { name: 'a record above the limit', bytes: [22, 3, 1, 0x40, 1] },
  { name: 'another handshake message', bytes: record([2, 0, 0, 0]) },
  { name: 'an alert in the middle of the hello', bytes: [...record([1, 0]), 21, 3, 1, 0, 2, 1, 0] },
  {
    name: 'a session id that is longer than the message',
    bytes: record(handshake([3, 3, ...Array<number>(32).fill(0), 200])),
  },
  { name: 'an extension that is longer than the list', bytes: record(handshake(body([...u16(0), ...u16(9), 1]))) },
  { name: 'a list of names that is longer than its extension', bytes: [...hello(extension(0, [0, 9, 0]))] },
  { name: 'a name with a space', bytes: [...hello(serverName('a b'))] },
  { name: 'an empty name', bytes: [...hello(serverName(''))] },
  { name: 'a name of 256 bytes', bytes: [...hello(serverName('a'.repeat(256)))] },
  { name: 'an empty protocol', bytes: [...hello(alpn(''))] },
  { name: 'a protocol that is longer than the list', bytes: [...hello(extension(16, [0, 2, 9, 1]))] },
])
  test(`malformed: ${name}`, () => {
    assert.equal(parseClientHello(Uint8Array.from(bytes)), 'malformed')
  })

test('a hello that says or shows that it is too large', () => {
  assert.equal(parseClientHello(Uint8Array.from(record([1, 1, 0, 0]))), 'too-large')
  const endless = new Uint8Array(MAX_CLIENT_HELLO_BYTES)
  endless.set([22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xff])
  assert.equal(parseClientHello(endless), 'too-large')
  assert.equal(parseClientHello(endless.subarray(0, -1)), 'short')
})
