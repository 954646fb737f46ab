/** Odd places and claims of tokens: what Envoy takes is taken, and what it refuses is refused (docs/differences.md). */
import { test } from 'node:test'
import type { JsonObject } from '@bufbuild/protobuf'
import { createKey, createToken } from '../../../helpers/jwt.ts'
import type { Ask } from '../../../protocols/http/both.ts'
import { compareRows, type, type Compared, type Row } from './rig.ts'

const [KEY, OTHER] = [createKey('ES256', 'a'), createKey('ES256', 'a')]
const NOW_SEC = Math.floor(Date.now() / 1000)
const token = (claims: object = {}, key = KEY): string =>
  createToken(key, { iss: 'one', sub: 'alice', exp: NOW_SEC + 600, ...claims })
const [GOOD, BAD] = [token(), token({ sub: 'mallory' }, OTHER)]

const NEEDED = { provider_name: 'one' }
const filter = (provider: JsonObject, requirements: readonly JsonObject[] = []): JsonObject => ({
  name: 'envoy.filters.http.jwt_authn',
  typed_config: {
    '@type': type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
    providers: {
      one: { issuer: 'one', local_jwks: { inline_string: JSON.stringify({ keys: [KEY.jwk] }) }, ...provider },
    },
    rules: [
      {
        match: { prefix: '/' },
        requires: requirements.length === 0 ? NEEDED : { requires_any: { requirements: [NEEDED, ...requirements] } },
      },
    ],
  },
})
const CLAIM = { claim_to_headers: [{ header_name: 'x-claim', claim_name: 'sub' }] }
const MAYBE = [{ allow_missing: {} }]
const ask = (path: string, ...fields: [string, string][]): Ask => ({ path, fields })
const bearers = (...values: string[]): Ask => ask('/', ...values.map((v): [string, string] => ['authorization', v]))
const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

const IN_HEADERS = [
  bearers(`Bearer ${GOOD}`),
  bearers(`Bearer ${GOOD}`, `Bearer ${BAD}`),
  bearers(`Bearer ${BAD}`, `Bearer ${GOOD}`),
  bearers(`Basic abc`, `Bearer ${GOOD}`),
  bearers(`Bearer ${GOOD}`, 'Basic abc'),
  bearers(`Bearer ${GOOD}, Bearer ${BAD}`),
  bearers(`bearer ${GOOD}`),
  bearers(`Bearer  ${GOOD}`),
  bearers(`Bearer\t${GOOD}`),
  bearers(`Bearer ${GOOD}==`),
  bearers(`Bearer "${GOOD}"`),
  bearers(`Bearer ;${GOOD}`),
  bearers(`Bearer ${GOOD};x`),
  bearers(`xBearer ${GOOD}`),
  bearers('Bearer'),
  bearers(`Bearer ${GOOD}.x`),
]
const IN_QUERIES = [
  `access_token=${GOOD}`,
  `access_token=${BAD}&access_token=${GOOD}`,
  `access%5Ftoken=${GOOD}`,
  `a=1&access%5ftoken=${GOOD}&b=2`,
  `access%5Ftoken=${BAD}`,
  `access_token=${GOOD.replace('.', '%2E')}`,
  `access_token=${GOOD};x=1`,
  'access_token=',
  `Access_token=${GOOD}`,
].map((query) => ask(`/?${query}`))
const IN_COOKIES = [
  [`t=${GOOD}`],
  [`t=${BAD}; t=${GOOD}`],
  ['a=b', `t=${GOOD}`],
  [`t="${GOOD}"`],
  [`a=b,t=${GOOD}`],
  [`a="; t=${GOOD}"`],
].map((lines) => ask('/', ...lines.map((line): [string, string] => ['cookie', line])))
const CLAIMS = [
  ...['', 'jürgen', null, true, 1.5, ['a'], { a: 1 }].map((sub) => ({ sub })),
  ...[String(NOW_SEC + 600), NOW_SEC + 600.5, -1, null, 1e20].map((exp) => ({ exp })),
  ...[NOW_SEC + 30, NOW_SEC + 90, 'x'].map((nbf) => ({ nbf })),
  ...[NOW_SEC + 90, 'x'].map((iat) => ({ iat })),
  ...['two', null, undefined, ['one']].map((iss) => ({ iss })),
  ...['x', ['x'], 5, [5], {}].map((aud) => ({ aud })),
  { jti: 5 },
  ...[50, 99, 100, 3_000].map((levels) => ({ list: nested(levels) })),
].map((claims) => bearers(`Bearer ${token(claims)}`))

const ROWS: readonly Row[] = [
  { name: 'headers', filters: [filter(CLAIM)], asks: IN_HEADERS },
  { name: 'headers, where none is needed', filters: [filter(CLAIM, MAYBE)], asks: IN_HEADERS },
  { name: 'queries', filters: [filter(CLAIM)], asks: IN_QUERIES },
  { name: 'queries that go on', filters: [filter({ forward: true })], asks: IN_QUERIES },
  { name: 'queries, where none is needed', filters: [filter(CLAIM, MAYBE)], asks: IN_QUERIES },
  { name: 'cookies', filters: [filter({ from_cookies: ['t'] })], asks: IN_COOKIES },
  { name: 'claims', filters: [filter(CLAIM)], asks: CLAIMS },
  { name: 'claims for somebody', filters: [filter({ audiences: ['x'] })], asks: CLAIMS },
  {
    name: 'lists as headers',
    filters: [filter({ claim_to_headers: [{ header_name: 'x-claim', claim_name: 'list' }] })],
    asks: [['<>>>???'], ['>>>?&'], ['a'], ['ab'], []].map((list) => bearers(`Bearer ${token({ list })}`)),
  },
]

test('the same tokens are good, and say the same', async (t) => {
  const facts = ({ told: { status, headers }, saw }: Compared): unknown => ({
    status,
    why: headers['www-authenticate']?.replace(/realm="[^"]*"/, ''),
    saw: saw && [saw.url, saw.headers['x-claim']],
  })
  await compareRows(t, ROWS, { facts })
})
