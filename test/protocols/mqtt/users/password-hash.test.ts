import { test } from 'node:test'
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  HASH_KINDS,
  hashPassword,
  formatHash,
  isPassword,
  parseHash,
  type PasswordHash,
} from '../../../../protocols/mqtt/users/password-hash.ts'

function hashOf(text: string): PasswordHash {
  const hash = parseHash(text)
  assert.ok(typeof hash === 'object', JSON.stringify(hash))
  return hash
}
const is = (text: string, password: string): Promise<boolean> => isPassword(hashOf(text), Buffer.from(password))

/** Made by mosquitto_passwd 2.0.11, the reference's test.c, RFC 7914 §12 and RFC 7677 §3. */
const MADE_ELSEWHERE = [
  [
    '$7$101$dYMuLQly5KVTt+BZ$6od/LDjuUCGN4xGYSLG7qrdm6sDH6yQ1wV5TzMPmKN40SjqMMfq18NOcTKICU6S2UcVEejemopjAkXLKXDW9VA==',
    'correct horse',
  ],
  [
    '$7$101$YOzhsQKFvWyuvMER$s/7F1hjTNzJEbTjuM/Z55Za8n9HpKqlGeEuuoXnlXXX9Rh8NrIgxSzT7szEBvJUjt+XfqgZXnNv6kdg+zX8f1w==',
    'pässwörd',
  ],
  [
    '$6$oTsWd4BKVpaFjkfI$zUwmV9qeiHUGa6dcm6FbtbTkGLp29e1bJVCQiyFoxov3BDbZcHDuXKz1TzQgZhqEChSIMABZ0Nqs3PMaZ9hkBA==',
    'old way',
  ],
  ['$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc', 'password'],
  [
    '$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw',
    'pleaseletmein',
  ],
  [
    '$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    'pencil',
  ],
] as const

for (const [text, password] of MADE_ELSEWHERE) {
  test(`${text.slice(0, 16)}… as somebody else wrote it: the password is, others are not`, async () => {
    assert.equal(await is(text, password), true)
    for (const other of ['', password.slice(1), `${password} `, password.toUpperCase()])
      assert.equal(await is(text, other), false)
    assert.equal(formatHash(hashOf(text)), text)
  })
}

for (const kind of HASH_KINDS) {
  test(`${kind}: what is written is read again`, async () => {
    const password = Buffer.from('s3cret:$ü')
    const text = formatHash(await hashPassword(kind, password, randomBytes(16)))
    assert.equal(await is(text, 's3cret:$ü'), true)
    assert.equal(await is(text, 's3cret:$u'), false)
    assert.doesNotMatch(text, /[:\s].*:|\s/)
  })
}

test('a password that is not hashed, and hashes of other forms, are told without their text', () => {
  const [b64, short] = [Buffer.alloc(64, 1).toString('base64'), Buffer.alloc(4).toString('base64')]
  for (const text of [
    'topsecret',
    '',
    '$',
    '$5$topsecret$x',
    '$2b$12$topsecret',
    `$6$${b64}`,
    `$6$${b64}$${b64}$topsecret`,
    `$6$${short}$${b64}`,
    `$6$${b64}$${short}`,
    `$7$0$${b64}$${b64}`,
    `$7$-1$${b64}$${b64}`,
    `$7$1e3$${b64}$${b64}`,
    `$7$101$${b64}$to psecret`,
    `$argon2id$v=16$m=64,t=1,p=1$${b64}$${b64}`,
    `$argon2id$v=19$t=1,m=64,p=1$${b64}$${b64}`,
    `$argon2id$v=19$m=64,t=1$${b64}$${b64}`,
    `$argon2id$v=19$m=64,t=1,p=1,x=1$${b64}$${b64}`,
    `$scrypt$ln=14,r=8$${b64}$${b64}`,
    `$scram-sha-256$4096$${b64}$topsecret`,
    `$scram-sha-256$4096$${b64}$${b64}:${b64}`,
  ]) {
    const problem = parseHash(text)
    assert.ok(typeof problem === 'string', text)
    assert.doesNotMatch(problem, /topsecret/)
  }
  assert.match(JSON.stringify(parseHash('topsecret')), /meshlet mqtt passwd/)
})

test('what a hash asks for is bounded: memory, passes, lanes and iterations', () => {
  const b64 = Buffer.alloc(32, 1).toString('base64')
  for (const [within, above] of [
    ['$argon2id$v=19$m=65536,t=10,p=8', '$argon2id$v=19$m=65537,t=1,p=1'],
    ['$argon2id$v=19$m=47104,t=1,p=1', '$argon2id$v=19$m=64,t=11,p=1'],
    ['$argon2id$v=19$m=8,t=1,p=1', '$argon2id$v=19$m=64,t=1,p=9'],
    ['$argon2id$v=19$m=16,t=1,p=2', '$argon2id$v=19$m=7,t=1,p=1'],
    ['$scrypt$ln=16,r=8,p=1', '$scrypt$ln=17,r=8,p=1'],
    ['$scrypt$ln=14,r=8,p=8', '$scrypt$ln=14,r=8,p=9'],
    ['$scrypt$ln=1,r=1,p=1', '$scrypt$ln=400,r=1,p=1'],
  ] as const) {
    assert.equal(typeof parseHash(`${within}$${b64}$${b64}`), 'object', within)
    assert.match(JSON.stringify(parseHash(`${above}$${b64}$${b64}`)), /takes too much/, above)
  }
  const b512 = Buffer.alloc(64, 1).toString('base64')
  assert.equal(typeof parseHash(`$7$1000000$${b512}$${b512}`), 'object')
  assert.match(JSON.stringify(parseHash(`$7$1000001$${b512}$${b512}`)), /more than 1000000 iterations/)
})
