import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { DecodePath } from '../../../control-sync/decode/fields/decode-path.ts'
import { decodeLocalReply } from '../../../control-sync/decode/local-reply.ts'
import type { LocalReplyConfig } from '../../../model/http/local-reply.ts'
import { LocalReplyConfigSchema } from '../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { loadRegistry } from '../../../proto/registry.ts'

function decode(config: JsonObject): { readonly config: LocalReplyConfig | undefined; readonly skipped: string } {
  const at = DecodePath.top()
  const { localReply } = decodeLocalReply(at, fromJson(LocalReplyConfigSchema, config, { registry: loadRegistry() }))
  assert.equal(at.isOpen, false)
  return { config: localReply, skipped: at.skipped.join() }
}
const STATUS = { status_code_filter: { comparison: { op: 'EQ', value: { default_value: 404, runtime_key: 'k' } } } }

test('a mapper with everything', () => {
  const { config, skipped } = decode({
    mappers: [
      {
        filter: STATUS,
        status_code: 401,
        body: { inline_string: 'n\u00e4' },
        body_format_override: { json_format: { a: '%LOCAL_REPLY_BODY%' } },
        headers_to_add: [{ header: { key: 'X-A', value: '1' } }],
      },
    ],
    body_format: { text_format_source: { inline_string: 'x' }, content_type: 'text/html' },
  })
  assert.equal(skipped, '')
  const [mapper] = config!.mappers
  assert.deepEqual(mapper!.filter, { kind: 'status', is: 'eq', value: 404 })
  assert.equal(mapper!.status, 401)
  // Bytes of UTF-8.
  assert.equal(mapper!.body, 'n\u00c3\u00a4')
  assert.equal(mapper!.format!.contentType, 'application/json')
  assert.deepEqual(
    mapper!.headers.add.map(({ name }) => name),
    ['x-a'],
  )
  assert.equal(config!.format!.contentType, 'text/html')
})

for (const [name, config, why] of [
  ['no filter', { mappers: [{ status_code: 400 }] }, 'has no filter'],
  ['a status that is none', { mappers: [{ filter: STATUS, status_code: 600 }] }, 'must be 200 to 599'],
  ['an unknown operator', { body_format: { text_format: '%WHAT%' } }, '%WHAT% is no operator'],
  ['a line break', { body_format: { text_format: 'a', content_type: 'a\r\nb' } }, 'line break'],
  ['too many', { mappers: Array.from({ length: 257 }, () => ({ filter: STATUS })) }, 'more than 256'],
  ['a file', { mappers: [{ filter: STATUS, body: { filename: '/etc/passwd' } }] }, 'not read'],
] satisfies [string, JsonObject, string][])
  test(`left out whole, and told: ${name}`, () => {
    const { config: made, skipped } = decode(config)
    assert.equal(made, undefined)
    assert.ok(skipped.includes(why), skipped)
  })
