import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type DescMessage, type JsonValue, type MessageShape } from '@bufbuild/protobuf'
import { DurationSchema } from '@bufbuild/protobuf/wkt'
import { DecodePath, type ReadFile } from '../../../../control-sync/decode/fields/decode-path.ts'
import {
  decodeFraction,
  limit,
  decodeMs,
  decodeMsOrNone,
  decodeRanges,
  decodeRuntimeFraction,
  decodeSocketAddress,
  decodeText,
} from '../../../../control-sync/decode/fields/values.ts'
import { AddressSchema, CidrRangeSchema } from '../../../../proto/gen/envoy/config/core/v3/address_pb.ts'
import { DataSourceSchema, RuntimeFractionalPercentSchema } from '../../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import { FractionalPercentSchema } from '../../../../proto/gen/envoy/type/v3/percent_pb.ts'

/** What is read of a message, and what is said about it. */
function read<S extends DescMessage, T>(
  schema: S,
  json: JsonValue,
  decode: (at: DecodePath, message: MessageShape<S>) => T,
  readFile?: ReadFile,
): { value: T; issues: string[] } {
  const at = DecodePath.top({ readFile })
  const value = decode(at.in('f'), fromJson(schema, json))
  return { value, issues: at.issues.map((i) => `${i.path}: ${i.problem}`) }
}

test('durations are milliseconds; absent, 0 and negative are told apart', () => {
  assert.deepEqual(read(DurationSchema, '1.5s', decodeMs), { value: 1_500, issues: [] })
  assert.deepEqual(read(DurationSchema, '-1s', decodeMs), {
    value: undefined,
    issues: ['f: a duration may not be negative'],
  })
  const at = DecodePath.top()
  assert.equal(decodeMs(at, undefined), undefined)
  assert.equal(decodeMsOrNone(at, undefined, 7), 7)
  assert.equal(read(DurationSchema, '0s', (here, d) => decodeMsOrNone(here, d, 7)).value, undefined)
  assert.equal(read(DurationSchema, '0.002s', (here, d) => decodeMsOrNone(here, d, 7)).value, 2)
})

test("Envoy's highest uint32 is no limit", () => {
  assert.deepEqual([limit(undefined, 5), limit(3, 5), limit(0, 5), limit(0xffff_ffff, 5)], [5, 3, 0, Infinity])
})

for (const { json, want } of [
  { json: { numerator: 25 }, want: 0.25 },
  { json: { numerator: 250, denominator: 'TEN_THOUSAND' }, want: 0.025 },
  { json: { numerator: 250, denominator: 'MILLION' }, want: 0.000_25 },
  { json: { numerator: 250 }, want: 1 },
])
  test(`a share: ${JSON.stringify(json)}`, () => {
    assert.deepEqual(read(FractionalPercentSchema, json, decodeFraction), { value: want, issues: [] })
    assert.equal(read(RuntimeFractionalPercentSchema, { defaultValue: json }, decodeRuntimeFraction).value, want)
  })
test('a share by a denominator that nobody knows is an issue', () => {
  assert.deepEqual(read(FractionalPercentSchema, { numerator: 1, denominator: 9 }, decodeFraction).issues, [
    'f.denominator: unknown value',
  ])
})

test('address ranges: one that is none is named, the others are kept', () => {
  const at = DecodePath.top()
  const all = [
    { addressPrefix: '10.1.0.0', prefixLen: 16 },
    { addressPrefix: '10.1.0.0', prefixLen: 33 },
    { addressPrefix: 'fd00::', prefixLen: 8 },
  ].map((json) => fromJson(CidrRangeSchema, json))
  assert.equal(decodeRanges(at.in('r'), all).length, 2)
  assert.deepEqual(
    at.issues.map((i) => `${i.path}: ${i.problem}`),
    ['r[1]: no address range: 10.1.0.0/33'],
  )
})

test('a socket address has host and port', () => {
  assert.deepEqual(
    read(AddressSchema, { socketAddress: { address: 'a.example', portValue: 80 } }, decodeSocketAddress).value,
    { host: 'a.example', port: 80, ipv4Compat: false },
  )
  assert.deepEqual(
    [
      { socketAddress: { address: 'a', portValue: 65_536 } },
      { socketAddress: { address: '', portValue: 1 } },
      { socketAddress: { address: 'a'.repeat(256), portValue: 1 } },
      { socketAddress: { address: 'a', namedPort: 'http' } },
      { socketAddress: { address: 'a', portValue: 1, protocol: 'UDP' } },
      { pipe: { path: '/x' } },
    ].map((json) => {
      const { value, issues } = read(AddressSchema, json, decodeSocketAddress)
      assert.equal(value, undefined)
      return issues.join()
    }),
    [
      'f.socket_address.port_value: is above 65535',
      'f.socket_address.address: must have 1 to 255 characters',
      'f.socket_address.address: must have 1 to 255 characters',
      'f.socket_address.named_port: is not supported',
      'f.socket_address.protocol: only TCP is supported',
      'f: only socket_address is supported, not pipe',
    ],
  )
})

test('text is inline or in a file that may be read', () => {
  const reader: ReadFile = (file) => (file === '/a' ? 'content' : undefined)
  assert.equal(read(DataSourceSchema, { inlineString: 'x' }, decodeText).value, 'x')
  assert.equal(read(DataSourceSchema, { inlineBytes: 'eA==' }, decodeText).value, 'x')
  assert.equal(read(DataSourceSchema, { filename: '/a' }, decodeText, reader).value, 'content')
  assert.deepEqual(
    [
      read(DataSourceSchema, { filename: '/b' }, decodeText, reader),
      read(DataSourceSchema, { filename: '/a' }, decodeText),
      read(DataSourceSchema, { environmentVariable: 'A' }, decodeText),
      read(DataSourceSchema, {}, decodeText),
    ].map(({ issues }) => issues.join()),
    [
      'f.filename: there is no readable file /b',
      'f.filename: files are not read here',
      'f.environment_variable: is not supported',
      'f: names no source',
    ],
  )
})
