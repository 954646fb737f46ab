import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TYPE_URLS, type ResourceKind } from '../../model/snapshot.ts'
import { isSameContent } from '../../control-sync/wire/same-content.ts'
import { decode } from '../../control-sync/decode/decode.ts'
import { listAllMessages } from '../../control-sync/directory/known.ts'
import { parseFile } from '../../control-sync/directory/parse.ts'
import { seededRandom } from '../helpers/random.ts'
import { golden, GOLDEN } from '../helpers/control-plane/resources.ts'

/**
 * Nothing that a control plane or a file holds may throw, hang or pass as something it is not. Seeded, so a failure
 * comes again.
 */
const KINDS = Object.keys(TYPE_URLS) as ResourceKind[]
const ROUNDS = 3_000
const resources = GOLDEN.flatMap(golden)

function check(kind: ResourceKind, bytes: Uint8Array): void {
  const decoded = decode(kind, bytes)
  if (decoded.ok) assert.ok(decoded.value !== undefined && decoded.ignored.length <= 200)
  else
    assert.ok(
      decoded.issues.length > 0 &&
        decoded.issues.length <= 201 &&
        decoded.issues.every((i) => typeof i.path === 'string' && i.problem !== ''),
    )
  const other = Uint8Array.from(bytes).fill(0xff, bytes.length >> 1)
  assert.equal(typeof isSameContent(kind, bytes, other), 'boolean')
}

test('random bytes of every kind', () => {
  const random = seededRandom(1)
  for (let i = 0; i < ROUNDS; i++)
    check(
      KINDS[i % KINDS.length]!,
      Uint8Array.from({ length: Math.floor(random.float() * 200) }, () => random.float() * 256),
    )
})
test('real resources with some bytes changed', () => {
  const random = seededRandom(2)
  for (let i = 0; i < ROUNDS; i++) {
    const { kind, bytes } = resources[i % resources.length]!
    const broken = Uint8Array.from(bytes)
    for (let n = 0; n <= random.float() * 4; n++)
      broken[Math.floor(random.float() * broken.length)] = random.float() * 256
    check(kind, broken)
  }
})
test('real resources cut short at every length', () => {
  for (const { kind, bytes } of resources.filter((r) => r.bytes.length < 1_200))
    for (let n = 0; n < bytes.length; n += 3) check(kind, bytes.subarray(0, n))
})
test('one resource taken for another kind', () => {
  for (const { bytes } of resources) for (const kind of KINDS) check(kind, bytes)
})
test('pieces of two resources put together', () => {
  const random = seededRandom(3)
  for (let i = 0; i < ROUNDS; i++) {
    const [a, b] = [
      resources[Math.floor(random.float() * resources.length)]!,
      resources[Math.floor(random.float() * resources.length)]!,
    ]
    check(
      a.kind,
      Buffer.concat([
        a.bytes.subarray(0, random.float() * a.bytes.length),
        b.bytes.subarray(random.float() * b.bytes.length),
      ]),
    )
  }
})
test('messages nested a hundred thousand deep end in an issue or a bounded model', () => {
  // Listener.default_filter_chain … would need many shapes; Struct in Metadata nests without limit: filter_metadata →
  // Struct → Value → Struct …
  let inner = Buffer.alloc(0)
  const wrap = (field: number, content: Buffer): Buffer =>
    Buffer.concat([Buffer.from([field * 8 + 2]), length(content.length), content])
  for (let i = 0; i < 4_000; i++) inner = wrap(i % 2 ? 5 : 6, wrap(1, inner)) as Buffer<ArrayBuffer>
  const entry = Buffer.concat([wrap(1, Buffer.from('k')), wrap(2, inner)])
  check('cluster', Buffer.concat([Buffer.from([0xca, 0x01]), length(wrap(1, entry).length), wrap(1, entry)]))
})
test('resource files of random lines', () => {
  const random = seededRandom(4)
  const words = [
    'resources:',
    '- ',
    '  ',
    '"@type": ',
    TYPE_URLS.cluster,
    TYPE_URLS.listener,
    'name: a',
    '{',
    '}',
    '[',
    ']',
    '&a ',
    '*a',
    ': ',
    '\n',
    '\t',
    'filter_chains:',
    'null',
    '1e999',
    '!!binary x',
    '<<: *a',
    '"',
    '\0',
    '? ',
  ]
  for (let i = 0; i < ROUNDS; i++) {
    const text = Array.from(
      { length: Math.floor(random.float() * 40) },
      () => words[Math.floor(random.float() * words.length)],
    ).join('')
    const { problems } = parseFile('f.yaml', text, () => undefined, listAllMessages())
    assert.ok(problems.every((p) => p.line >= 1 && p.problem !== ''))
  }
})

function length(n: number): Buffer {
  const bytes: number[] = []
  do {
    bytes.push((n & 0x7f) | (n > 0x7f ? 0x80 : 0))
    n >>>= 7
  } while (n > 0)
  return Buffer.from(bytes)
}
