import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DecodePath, noteIgnored } from '../../../../control-sync/decode/fields/decode-path.ts'
import { findSkippedField, SKIPPED_FIELDS } from '../../../../control-sync/decode/fields/skipped.ts'
import { fromBinary } from '@bufbuild/protobuf'
import { listLeftOutNames } from '../../../../proto/field-names.ts'
import { loadRegistry } from '../../../../proto/registry.ts'

test("every field that is left out in words is one of Envoy's", () => {
  for (const key of Object.keys(SKIPPED_FIELDS)) {
    const [, type, field] = /^(.*)\.([a-z0-9_]+)$/.exec(key)!
    const ours =
      loadRegistry()
        .getMessage(type!)
        ?.fields.some((f) => f.name === field) ?? false
    assert.ok(ours || listLeftOutNames(type!).includes(field!), key)
  }
})
test('a field that our protos do not have is left out in words, too', () => {
  const schema = loadRegistry().getMessage('envoy.config.route.v3.RouteAction')!
  const at = DecodePath.top()
  // cors = 17, length-delimited.
  noteIgnored(at, schema, fromBinary(schema, Buffer.from([0x8a, 0x01, 0x00])))
  assert.deepEqual(at.skipped, [findSkippedField(schema.typeName, 'cors')])
  assert.deepEqual(at.ignored, ['cors'])
})
