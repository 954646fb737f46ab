/** Tokens of requests: where they are looked for, which requirement they meet, and what becomes of what they say. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readJwks, type Jwks } from '../../../../../core/jwt/jwks.ts'
import { JWT_METADATA, type JwtProvider, type JwtRequirement, type RemoteJwks } from '../../../../../model/http/jwt.ts'
import { RequestHead } from '../../../../../protocols/http/message.ts'
import { checkTokens } from '../../../../../protocols/http/filters/jwt/authenticate.ts'
import { createKey, createToken } from '../../../../helpers/jwt.ts'

const NOW_MS = Date.UTC(2026, 0, 1)
const NOW_SEC = NOW_MS / 1000
const KEYS = { one: createKey('ES256', 'a'), two: createKey('EdDSA', 'b') }
const provider = (issuer: keyof typeof KEYS, over: Partial<JwtProvider> = {}): JwtProvider => ({
  name: issuer,
  issuer,
  audiences: [],
  subjects: undefined,
  jwks: readJwks({ keys: [KEYS[issuer].jwk] }),
  leewayMs: 60_000,
  needsExpiry: false,
  maxLifetimeMs: undefined,
  headers: [{ name: 'authorization', prefix: 'Bearer ' }],
  params: ['access_token'],
  cookies: [],
  forwards: false,
  payloadHeader: undefined,
  claimHeaders: [],
  payloadKey: undefined,
  headerKey: undefined,
  failureKey: undefined,
  spaced: [],
  reroutes: false,
  remembered: 0,
  ...over,
})
const token = (issuer: keyof typeof KEYS, claims: object = {}): string =>
  createToken(KEYS[issuer], { iss: issuer, sub: 'alice', exp: NOW_SEC + 600, ...claims })

/** What was fetched from there. */
let fetched: Jwks | undefined
const REMOTE = { cluster: 'id' } as RemoteJwks
type Asked = { readonly problem: string | undefined; readonly reroute: boolean; readonly request: RequestHead }
function ask(
  requirement: JwtRequirement,
  {
    headers = [],
    path = '/',
    nowMs = NOW_MS,
  }: { readonly headers?: readonly string[]; readonly path?: string; readonly nowMs?: number },
  providers: readonly JwtProvider[] = [ONE, TWO],
): Asked {
  const request = new RequestHead({
    method: 'GET',
    scheme: 'http',
    authority: 'a',
    path,
    headers: [...headers],
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: undefined,
    expectContinue: false,
  })
  const jwt = { providers, rules: [], named: new Map(), bypassesPreflight: false, hidesReason: false }
  const { headers: own } = request
  const findKeys = (of: RemoteJwks): Jwks | undefined => (of === REMOTE ? fetched : undefined)
  return { ...checkTokens(jwt, requirement, { request, headers: own, time: { nowMs }, findKeys }), request }
}
const [ONE, TWO] = [provider('one'), provider('two')]
const by = (one: JwtProvider): JwtRequirement => ({ kind: 'provider', provider: one })
const MAYBE: JwtRequirement = { kind: 'optional', failed: false }
const bearer = (text: string): readonly string[] => ['authorization', `Bearer ${text}`]
const [GOOD, OTHER] = [token('one'), token('two')]
const EXPIRED = token('one', { exp: NOW_SEC - 61 })

for (const [name, requirement, headers, want] of [
  ['a good one', by(ONE), bearer(GOOD), undefined],
  ['none', by(ONE), [], 'missing'],
  ['another scheme', by(ONE), ['authorization', 'Basic YTpi'], 'missing'],
  ['one of another issuer', by(ONE), bearer(OTHER), 'issuer'],
  ['one that is over', by(ONE), bearer(EXPIRED), 'expired'],
  ['within the leeway', by(ONE), bearer(token('one', { exp: NOW_SEC - 59 })), undefined],
  ['an audience', { ...by(ONE), audiences: ['x'] }, bearer(token('one', { aud: ['y'] })), 'audience'],
  ['its audience', { ...by(ONE), audiences: ['x'] }, bearer(token('one', { aud: ['y', 'x'] })), undefined],
  ['either, the second', { kind: 'any', of: [by(ONE), by(TWO)] }, bearer(OTHER), undefined],
  ['either, and the one is over', { kind: 'any', of: [by(ONE), by(TWO)] }, bearer(EXPIRED), 'expired'],
  ['both, of one, which is taken out then', { kind: 'all', of: [by(ONE), by(TWO)] }, bearer(GOOD), 'missing'],
  ['one that may be missing, and is', { kind: 'any', of: [by(ONE), MAYBE] }, [], undefined],
  ['one that may be missing, and is over', { kind: 'any', of: [by(ONE), MAYBE] }, bearer(EXPIRED), 'expired'],
  ['one that may be missing, of nobody', { kind: 'any', of: [by(ONE), MAYBE] }, bearer(OTHER), 'issuer'],
  [
    'one that may be missing, and is for others than the requirement says',
    { kind: 'any', of: [{ ...by(ONE), audiences: ['x'] }, MAYBE] },
    bearer(token('one', { aud: ['y'] })),
    'issuer',
  ],
  ['any that may be missing', MAYBE, bearer(OTHER), undefined],
  ['one that may fail', { kind: 'optional', failed: true }, bearer(EXPIRED), undefined],
] as readonly (readonly [string, JwtRequirement, readonly string[], string | undefined])[])
  test(`a token: ${name}`, () => {
    assert.equal(ask(requirement, { headers }).problem, want)
  })

test('whoever brings a good and a bad one is refused: the endpoint might take the bad one', () => {
  const asked = ask(by(ONE), { headers: bearer(GOOD), path: `/?access_token=${EXPIRED}` })
  assert.equal(asked.problem, 'expired')
})
const FOREIGN = createToken(createKey('ES256', 'a'), { iss: 'one', sub: 'mallory', exp: NOW_SEC + 600 })
const cookies = provider('one', { cookies: ['t'], forwards: true })
for (const { name, headers = [], path = '/' } of [
  { name: 'two lines', headers: [...bearer(GOOD), ...bearer(FOREIGN)] },
  { name: 'two in a line', headers: ['authorization', `Bearer ${GOOD}, Bearer ${FOREIGN}`] },
  { name: 'words behind it', headers: ['authorization', `Bearer ${GOOD} ${FOREIGN}`] },
  { name: 'in quotes', headers: ['authorization', `Bearer "${GOOD}"`] },
  { name: 'the parameter twice', path: `/?access_token=${GOOD}&access_token=${FOREIGN}` },
  { name: 'the parameter twice, its name written otherwise', path: `/?access_token=${GOOD}&access%5Ftoken=${FOREIGN}` },
  { name: 'the parameter, its name written otherwise', path: `/?access%5ftoken=${FOREIGN}` },
  { name: 'the cookie twice', headers: ['cookie', `t=${GOOD}; t=${FOREIGN}`] },
  { name: 'the cookie in two lines', headers: ['cookie', `t=${GOOD}`, 'cookie', `t=${FOREIGN}`] },
  { name: 'more than anybody has', headers: ['cookie', Array.from({ length: 9 }, () => `t=${GOOD}`).join('; ')] },
])
  test(`what an endpoint may take for the token is verified, too: ${name}`, () => {
    const problems = [by(cookies), { kind: 'any', of: [by(cookies), MAYBE] } as const].map(
      (requirement) => ask(requirement, { headers, path }, [cookies]).problem,
    )
    assert.ok(problems.every((problem) => problem !== undefined))
  })
test('a parameter is found and taken out however its name is written', () => {
  const { problem, request } = ask(by(ONE), { path: `/?a%3D=1&access%5Ftoken=${GOOD}&b` })
  assert.deepEqual([problem, request.path], [undefined, '/?a%3D=1&b'])
})
test('a cookie ends at a semicolon', () => {
  assert.equal(ask(by(cookies), { headers: ['cookie', `a=b,t=${GOOD}`] }, [cookies]).problem, 'missing')
})

for (const sub of ['ad\nmin', 'admin\0', 'adm\x1bin'])
  test(`a claim that no header may hold is not made another: ${JSON.stringify(sub)}`, () => {
    const told = provider('one', { claimHeaders: [{ name: 'x-sub', claim: ['sub'] }] })
    const { problem, request } = ask(by(told), { headers: bearer(token('one', { sub })) }, [told])
    assert.deepEqual([problem, request.header('x-sub')], ['claim', undefined])
  })
test('a claim without words is no header', () => {
  const told = provider('one', { claimHeaders: [{ name: 'x-sub', claim: ['sub'] }] })
  const { problem, request } = ask(by(told), { headers: bearer(token('one', { sub: '' })) }, [told])
  assert.deepEqual([problem, request.header('x-sub')], [undefined, undefined])
})
test('whose clock is ahead has issued a token that counts', () => {
  assert.equal(ask(by(ONE), { headers: bearer(token('one', { iat: NOW_SEC + 3_600 })) }).problem, undefined)
})
test('names that read as those of claims are nobody else to write', () => {
  const told = provider('one', { claimHeaders: [{ name: 'x-user_id', claim: ['sub'] }] })
  const forged = ['x_user_id', 'root', 'x-user-id', 'root', 'x.user.id', 'root', 'x-userid', '1']
  assert.deepEqual(ask(MAYBE, { headers: forged }, [told]).request.headers, ['x-userid', '1'])
})

test('subjects and life times', () => {
  const alice = { kind: 'prefix', value: 'al', ignoreCase: false } as const
  const asked = (over: Partial<JwtProvider>, claims: object): string | undefined => {
    const own = provider('one', over)
    return ask(by(own), { headers: bearer(token('one', claims)) }, [own]).problem
  }
  assert.equal(asked({ subjects: alice }, { sub: 'alice' }), undefined)
  assert.equal(asked({ subjects: alice }, { sub: 'bob' }), 'subject')
  assert.equal(asked({ subjects: alice }, { sub: undefined }), 'subject')
  assert.equal(asked({ needsExpiry: true }, { exp: undefined }), 'lifetime')
  assert.equal(asked({ maxLifetimeMs: 60_000 }, {}), 'lifetime')
  assert.equal(asked({ maxLifetimeMs: 600_000 }, {}), undefined)
})
test('a token that was verified goes no further, unless it is to', () => {
  const path = `/p?a=1&access_token=${GOOD}&b`
  assert.deepEqual(ask(by(ONE), { headers: ['x', '1', ...bearer(GOOD)] }).request.headers, ['x', '1'])
  assert.equal(ask(by(ONE), { path }).request.path, '/p?a=1&b')
  const kept = provider('one', { forwards: true })
  assert.deepEqual(ask(by(kept), { headers: bearer(GOOD) }, [kept]).request.headers, bearer(GOOD))
  assert.equal(ask(by(kept), { path }, [kept]).request.path, path)
})
test('what a token says becomes headers and metadata; nobody else brings them', () => {
  const own = provider('one', {
    payloadHeader: { name: 'x-payload', padded: true },
    claimHeaders: [
      { name: 'x-sub', claim: ['sub'] },
      { name: 'x-deep', claim: ['deep', 'er'] },
      { name: 'x-list', claim: ['list'] },
      { name: 'x-none', claim: ['none'] },
    ],
    payloadKey: 'payload',
    headerKey: 'header',
    spaced: ['scope'],
    reroutes: true,
  })
  const claims = { scope: 'read  write', deep: { er: true }, list: ['a'] }
  const good = token('one', claims)
  const forged = ['x-sub', 'root', 'x-none', '1', 'x-payload', 'e30', 'x-other', '1']
  const { request, reroute } = ask(by(own), { headers: [...forged, ...bearer(good)] }, [own])
  assert.equal(reroute, true)
  const payload = good.split('.')[1]!
  assert.deepEqual(request.headers, [
    'x-other',
    '1',
    'x-payload',
    payload.padEnd(Math.ceil(payload.length / 4) * 4, '='),
    'x-sub',
    'alice',
    'x-deep',
    'true',
    'x-list',
    Buffer.from('["a"]').toString('base64'),
  ])
  assert.deepEqual(request.metadata, {
    [JWT_METADATA]: {
      payload: { iss: 'one', sub: 'alice', exp: NOW_SEC + 600, ...claims, scope: ['read', 'write'] },
      header: { alg: 'ES256', kid: 'a' },
    },
  })
  assert.deepEqual(ask(MAYBE, { headers: forged }, [own]).request.headers, ['x-other', '1'])
})
test('where tokens may fail all are looked at: a bad one does not hide what a good one says', () => {
  const own = provider('one', { payloadKey: 'payload' })
  const requirement = { kind: 'optional', failed: true } as const
  const { problem, request } = ask(requirement, { headers: bearer(EXPIRED), path: `/?access_token=${GOOD}` }, [own])
  assert.equal(problem, undefined)
  assert.deepEqual(request.metadata, {
    [JWT_METADATA]: { payload: { iss: 'one', sub: 'alice', exp: NOW_SEC + 600 } },
  })
})
test('a token that is remembered still ends', () => {
  const own = provider('one', { remembered: 2 })
  const soon = { headers: bearer(token('one', { exp: NOW_SEC + 1 })) }
  const at = (nowMs: number): string | undefined => ask(by(own), { ...soon, nowMs }, [own]).problem
  assert.deepEqual([at(NOW_MS), at(NOW_MS + 60_000), at(NOW_MS + 61_001)], [undefined, undefined, 'expired'])
})

test('keys that were not fetched let nobody in who needs a token, and no token through', () => {
  fetched = undefined
  const far = provider('one', { jwks: REMOTE })
  const asked = (requirement: JwtRequirement, text: string): string | undefined =>
    ask(requirement, { headers: bearer(text) }, [far, TWO]).problem
  const maybe: JwtRequirement = { kind: 'any', of: [by(far), MAYBE] }
  assert.equal(asked(by(far), GOOD), 'unfetched')
  assert.equal(asked(maybe, GOOD), 'unfetched')
  assert.equal(asked(MAYBE, GOOD), 'unfetched')
  assert.equal(ask(by(far), {}, [far]).problem, 'missing')
  assert.equal(asked(by(far), OTHER), 'issuer')
  assert.equal(asked({ kind: 'any', of: [by(far), by(TWO)] }, OTHER), undefined, 'others are not concerned')
  const failing = ask({ kind: 'optional', failed: true }, { headers: bearer(GOOD) }, [far])
  assert.deepEqual([failing.problem, failing.request.metadata], [undefined, undefined])
  fetched = readJwks({ keys: [KEYS.two.jwk] })
  assert.equal(asked(by(far), GOOD), 'key')
  fetched = readJwks({ keys: [KEYS.one.jwk] })
  assert.equal(asked(by(far), GOOD), undefined)
})
test('a token that is remembered goes with the keys that it was verified by', () => {
  const far = provider('one', { jwks: REMOTE, remembered: 2 })
  const asked = (): string | undefined => ask(by(far), { headers: bearer(GOOD) }, [far]).problem
  fetched = readJwks({ keys: [KEYS.one.jwk] })
  assert.deepEqual([asked(), asked()], [undefined, undefined])
  fetched = readJwks({ keys: [KEYS.two.jwk] })
  assert.equal(asked(), 'key')
})
