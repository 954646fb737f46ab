/** What nobody may see of a log or a dump, in texts that clients have a part in. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { redactText } from '../../../agent/cli/redact.ts'

const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl'

for (const [text, shown] of [
  [`bearer ${JWT}`, 'bearer [redacted]'],
  [`a.b.${JWT}`, 'a.b.[redacted]'],
  [`..${JWT} and ${JWT}`, '..[redacted] and [redacted]'],
  [`x-${JWT}`, 'x-[redacted]'],
  ['eyJhbGciOiJSUzI1NiJ9..', 'eyJhbGciOiJSUzI1NiJ9..'],
  ['1.2.3 app.default.svc', '1.2.3 app.default.svc'],
  ['see http://me:secret@host/a', 'see http://[redacted]@host/a'],
  ['1-x.http://me@host and mqtt://you@host', '1-x.http://[redacted]@host and mqtt://[redacted]@host'],
  ['http://host/a@b', 'http://host/a@b'],
  ['"my-password": "a b", x_token=1, tokens=2', '"my-password": [redacted], x_token=[redacted], tokens=2'],
  ['passwordFile: /etc/x, password: /etc/y', 'passwordFile: /etc/x, password: /etc/y'],
] as const)
  test(`${text} is shown as ${shown}`, () => assert.equal(redactText(text), shown))

test('a long run of anything is looked through once, whatever it looks like at each of its characters', () => {
  // A search that begins again at each character takes hours for one of them.
  for (const piece of ['a', '-', 'a.', 'a-', '-eyJaaaaaaaa', 'eyJ.', 'token', 'token ', 'a://', '-----BEGIN ', '"'])
    assert.equal(redactText(piece.repeat(500_000 / piece.length)).length > 400_000, true, piece)
})
