/** local_reply_config: answers of a proxy's own in the words of the listener. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { FilterRow } from './filter-row.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const status = (op: string, code: number): JsonObject => ({
  status_code_filter: { comparison: { op, value: { default_value: code, runtime_key: 'k' } } },
})
const text = (inline: string, more: JsonObject = {}): JsonObject => ({
  text_format_source: { inline_string: inline },
  ...more,
})
const add = (key: string, value: string, more: JsonObject = {}): JsonObject => ({ header: { key, value }, ...more })
const denied = (): readonly JsonObject[] => [
  {
    name: 'envoy.filters.http.rbac',
    typed_config: {
      '@type': type('extensions.filters.http.rbac.v3.RBAC'),
      rules: { action: 'DENY', policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } } },
    },
  },
]
const TOLD = ['content-type', 'content-length', 'x-a', 'x-b', 'grpc-status', 'grpc-message', 'location']
const direct = (code: number, body?: string): JsonObject => ({
  direct_response: { status: code, ...(body !== undefined && { body: { inline_string: body } }) },
})
const grpc = { method: 'POST', body: 'x', fields: [['content-type', 'application/grpc']] } as const

/** By its name: what the listener says, and a row. */
const CASES: readonly (Omit<FilterRow, 'listener' | 'told' | 'ask'> & {
  readonly says: JsonObject
  readonly ask?: FilterRow['ask']
})[] = [
  { name: 'reply-body', says: { mappers: [{ filter: status('EQ', 418), body: { inline_string: 'tea' } }] } },
  {
    name: 'reply-other-status',
    says: { mappers: [{ filter: status('EQ', 404), body: { inline_string: 'tea' } }] },
  },
  {
    name: 'reply-status',
    says: { mappers: [{ filter: status('GE', 400), status_code: 500 }] },
  },
  {
    name: 'reply-first-counts',
    says: {
      mappers: [
        { filter: status('LE', 100), status_code: 501 },
        { filter: status('GE', 400), status_code: 502 },
        { filter: status('GE', 400), status_code: 503 },
      ],
    },
  },
  { name: 'reply-text', says: { body_format: text('<%RESPONSE_CODE%|%LOCAL_REPLY_BODY%|%REQ(:path)%>\n') } },
  { name: 'reply-type', says: { body_format: text('<b>%LOCAL_REPLY_BODY%</b>', { content_type: 'text/html' }) } },
  {
    name: 'reply-json',
    says: {
      body_format: { json_format: { code: '%RESPONSE_CODE%', text: '%LOCAL_REPLY_BODY%', path: '%REQ(:path)%' } },
    },
  },
  {
    name: 'reply-json-type',
    says: { body_format: { json_format: { a: 'b' }, content_type: 'application/problem+json' } },
  },
  {
    name: 'reply-override',
    says: {
      body_format: text('outer'),
      mappers: [{ filter: status('EQ', 418), body_format_override: text('inner %LOCAL_REPLY_BODY%') }],
    },
  },
  {
    name: 'reply-body-in-format',
    says: {
      body_format: text('[%LOCAL_REPLY_BODY%]'),
      mappers: [{ filter: status('EQ', 418), body: { inline_string: 'inner' }, status_code: 400 }],
    },
  },
  {
    name: 'reply-adds',
    says: {
      mappers: [
        {
          filter: status('EQ', 418),
          headers_to_add: [add('x-a', '1'), add('X-B', '%RESPONSE_CODE% %REQ(x-q)%'), add('x-c', '')],
        },
      ],
    },
    ask: { fields: [['x-q', 'q']] },
  },
  {
    name: 'reply-adds-type',
    says: {
      mappers: [
        {
          filter: status('EQ', 418),
          body: { inline_string: '{}' },
          headers_to_add: [add('content-type', 'a/b', { append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' })],
        },
      ],
    },
  },
  { name: 'reply-empty', says: { mappers: [{ filter: status('EQ', 418), body: { inline_string: '' } }] } },
  { name: 'reply-empty-format', says: { body_format: text('%REQ(x-none)%', { omit_empty_values: true }) } },
  {
    name: 'reply-no-body',
    says: { body_format: text('[%LOCAL_REPLY_BODY%]') },
    route: direct(418),
  },
  {
    name: 'reply-204',
    says: { mappers: [{ filter: status('EQ', 418), status_code: 204, body: { inline_string: '' } }] },
  },
  { name: 'reply-head', says: { body_format: text('new') }, ask: { method: 'HEAD' } },
  {
    name: 'reply-flags',
    says: {
      mappers: [
        { filter: { response_flag_filter: { flags: ['NR'] } }, status_code: 410, body: { inline_string: 'gone' } },
      ],
    },
    host: { routes: [{ match: { prefix: '/only' }, route: { cluster: 'origin' } }] },
  },
  {
    name: 'reply-flags-format',
    says: { body_format: text('%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %PROTOCOL%') },
    host: { routes: [{ match: { prefix: '/only' }, route: { cluster: 'origin' } }] },
    ownText: false,
  },
  {
    name: 'reply-header-filter',
    says: {
      mappers: [
        {
          filter: { header_filter: { header: { name: 'x-q', string_match: { exact: 'q' } } } },
          body: { inline_string: 'by header' },
        },
      ],
    },
    ask: { fields: [['x-q', 'q']] },
  },
  {
    name: 'reply-and-filter',
    says: {
      mappers: [
        {
          filter: {
            and_filter: {
              filters: [status('GE', 400), { header_filter: { header: { name: 'x-q', present_match: true } } }],
            },
          },
          body: { inline_string: 'both' },
        },
      ],
    },
    ask: { fields: [['x-q', 'q']] },
  },
  {
    name: 'reply-denied',
    says: { mappers: [{ filter: status('EQ', 403), status_code: 404, body: { inline_string: 'nothing here' } }] },
    filters: denied(),
  },
  {
    name: 'reply-denied-grpc',
    says: { mappers: [{ filter: status('EQ', 403), status_code: 404, body: { inline_string: 'nothing här' } }] },
    filters: denied(),
    ask: grpc,
  },
  {
    name: 'reply-grpc-status',
    says: { mappers: [{ filter: status('EQ', 403), headers_to_add: [add('grpc-status', '9')] }] },
    filters: denied(),
    ask: grpc,
  },
  {
    name: 'reply-grpc-json',
    says: { body_format: { json_format: { m: '%LOCAL_REPLY_BODY%' } } },
    filters: denied(),
    ask: grpc,
  },
  {
    name: 'reply-redirect',
    says: { mappers: [{ filter: status('EQ', 301), status_code: 308 }] },
    route: { redirect: { path_redirect: '/p' } },
  },
  { name: 'reply-redirect-body', says: { body_format: text('moved') }, route: { redirect: { path_redirect: '/p' } } },
  {
    name: 'reply-edited',
    says: { mappers: [{ filter: status('EQ', 418), headers_to_add: [add('x-a', 'mapper')] }] },
    host: { response_headers_to_add: [add('x-a', 'host')] },
    ownText: true,
  },
  {
    name: 'reply-upstream',
    says: { mappers: [{ filter: status('GE', 200), status_code: 500 }] },
    route: { route: { cluster: 'origin' } },
  },
]

export const LOCAL_REPLIES: readonly FilterRow[] = CASES.map(({ says, ...row }) => ({
  route: direct(418, 'i am'),
  ask: {},
  told: TOLD,
  ...row,
  listener: { local_reply_config: says },
}))
