/** The page of consent is text and two links, whatever an issuer says of somebody. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { deriveLoginCode, formatConsentPage } from '../../../../hub/console/oidc/consent.ts'

test('what an issuer says is text of the page', () => {
  const page = formatConsentPage({
    operator: `oidc:"><img src=x onerror=alert(1)>`,
    name: `<b>Ann</b> & 'Bob'`,
    grants: [{ namespace: '<i>', role: 'viewer' }],
    challenge: 'c'.repeat(43),
    confirm: 'http://127.0.0.1:1/c?code=a&b="',
    refuse: 'http://127.0.0.1:1/c?refused=x',
  })
  assert.doesNotMatch(page, /<(?:b|i|img|script)[ >]/)
  assert.match(page, /&lt;b&gt;Ann&lt;\/b&gt; &amp; &#39;Bob&#39; \(oidc:&quot;&gt;&lt;img/)
  assert.match(page, /href="http:\/\/127\.0\.0\.1:1\/c\?code=a&amp;b=&quot;">Yes/)
  assert.ok(page.includes(deriveLoginCode('c'.repeat(43))))
})

test('another login has other letters', () => {
  assert.match(deriveLoginCode('a'), /^[0-9A-F]{4}-[0-9A-F]{4}$/)
  assert.notEqual(deriveLoginCode('a'), deriveLoginCode('b'))
})
