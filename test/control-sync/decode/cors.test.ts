import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { CorsPolicy } from '../../../model/http/cors.ts'
import { CorsPolicySchema } from '../../../proto/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts'
import { decodeCors } from '../../../control-sync/decode/cors.ts'
import { DecodePath } from '../../../control-sync/decode/fields/decode-path.ts'

const EXACT = (value: string) => ({ matchPattern: { case: 'exact', value } }) as const
function decoded(
  from: MessageInitShape<typeof CorsPolicySchema>,
  outer?: CorsPolicy,
): { readonly cors: CorsPolicy; readonly issues: readonly string[] } {
  const at = DecodePath.top()
  const cors = decodeCors(at, create(CorsPolicySchema, from), outer)
  return { cors, issues: at.issues.map((i) => i.path) }
}
const OUTER = decoded({
  allowOriginStringMatch: [EXACT('https://outer.example')],
  allowMethods: 'GET',
  allowHeaders: 'x-outer',
  exposeHeaders: 'x-shown',
  maxAge: '60',
  allowCredentials: true,
  allowPrivateNetworkAccess: true,
  forwardNotMatchingPreflights: false,
  filterEnabled: { defaultValue: { numerator: 0 } },
}).cors

test('an empty policy is enabled for all, and says nothing else', () =>
  assert.deepEqual(decoded({}).cors, {
    enabled: 1,
    shadow: 0,
    origins: [],
    allowMethods: '',
    allowHeaders: '',
    exposeHeaders: '',
    maxAge: '',
    allowCredentials: undefined,
    allowPrivateNetwork: undefined,
    forwardOthers: undefined,
  }))

test('what it leaves out the enclosing one says, but for the shares of requests', () =>
  assert.deepEqual(decoded({ shadowEnabled: { defaultValue: { numerator: 50 } } }, OUTER).cors, {
    ...OUTER,
    enabled: 1,
    shadow: 0.5,
  }))

test('what it says counts, allow_credentials, allow_private_network_access and forward_not_matching_preflights also as false and true', () => {
  const { cors } = decoded(
    {
      allowOriginStringMatch: [EXACT('https://a.example')],
      maxAge: '1',
      allowCredentials: false,
      allowPrivateNetworkAccess: false,
      forwardNotMatchingPreflights: true,
    },
    OUTER,
  )
  assert.deepEqual(cors, {
    ...OUTER,
    enabled: 1,
    origins: [{ kind: 'exact', value: 'https://a.example', ignoreCase: false }],
    maxAge: '1',
    allowCredentials: false,
    allowPrivateNetwork: false,
    forwardOthers: true,
  })
})

for (const [field, from] of [
  ['allow_methods', { allowMethods: 'GET\r\nx: y' }],
  ['allow_headers', { allowHeaders: 'a\0' }],
  ['expose_headers', { exposeHeaders: 'grün' }],
  ['max_age', { maxAge: '1\n' }],
  ['allow_origin_string_match[0]', { allowOriginStringMatch: [{}] }],
] as [string, MessageInitShape<typeof CorsPolicySchema>][])
  test(`${field} that cannot be sent or matched is an issue`, () => assert.deepEqual(decoded(from).issues, [field]))
