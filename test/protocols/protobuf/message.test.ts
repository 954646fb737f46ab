import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromBinary, fromJson, toBinary, toJson, type JsonObject } from '@bufbuild/protobuf'
import { StructSchema } from '@bufbuild/protobuf/wkt'
import fc from 'fast-check'
import { MessageWriter, findBytes, findNumber, readMessage, readText } from '../../../protocols/protobuf/message.ts'
import { decodeStruct, encodeStruct } from '../../../protocols/protobuf/struct.ts'

/** A struct in bytes; the library writes the members of a map in their order. */
const objects = fc.dictionary(
  fc.string(),
  fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie('value'), { maxKeys: 4 }),
    ),
  })).value,
  { maxKeys: 5 },
) as fc.Arbitrary<JsonObject>
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('a Struct is written and read as the protobuf library does', () => {
  fc.assert(
    fc.property(objects, (object) => {
      const bytes = Buffer.from(toBinary(StructSchema, fromJson(StructSchema, object)))
      assert.deepEqual(plain(decodeStruct(bytes)), plain(object))
      assert.deepEqual(
        plain(toJson(StructSchema, fromBinary(StructSchema, encodeStruct(object).finish()))),
        plain(object),
      )
    }),
  )
})

test('what is no message is none, wherever it is cut', () => {
  const whole = encodeStruct({ a: 'text', b: { c: 1.5, d: [true, null] } }).finish()
  for (let end = 0; end < whole.length; end++) assert.doesNotThrow(() => decodeStruct(whole.subarray(0, end)))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      decodeStruct(Buffer.from(bytes))
    }),
  )
  for (const [name, bytes] of [
    ['a length beyond the end', [0x0a, 2, 0x61]],
    ['a tag of field 0', [0x02, 0]],
    ['a group', [0x0b, 0x0c]],
    ['a number without an end', [0x08, 0x80]],
    ['a number of eleven bytes', [0x08, ...Array.from({ length: 10 }, () => 0x80), 0]],
  ] as const)
    assert.equal(readMessage(Buffer.from(bytes)), undefined, name)
})

test('fields by number: the last counts, what is not there is empty', () => {
  const bytes = new MessageWriter().text(1, 'a').text(1, 'b').integer(2, 300).fixed64(3, 5n).text(4, '').finish()
  const fields = readMessage(bytes)!
  assert.deepEqual(
    [readText(fields, 1), findNumber(fields, 2), findBytes(fields, 3)?.readBigUInt64LE(), findBytes(fields, 4)],
    ['b', 300, 5n, undefined],
  )
  assert.deepEqual([readText(fields, 9), findNumber(fields, 9)], ['', 0])
})
