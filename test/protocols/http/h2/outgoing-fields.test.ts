/** What leaves as a field list of HTTP/2: nothing that RFC 9113 does not permit, whatever is asked for. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  toInformationalFields,
  toRequestFields,
  toResponseFields,
  toTrailerFields,
} from '../../../../protocols/http/h2/outgoing-fields.ts'
import type { UpstreamRequest } from '../../../../protocols/http/message.ts'
import { UNKNOWN_LENGTH } from '../../../../protocols/http/codec/framing.ts'

const ODD = [
  'connection',
  'x-named',
  'keep-alive',
  'timeout=5',
  'proxy-connection',
  'close',
  'te',
  'gzip',
  'upgrade',
  'h2c',
  'transfer-encoding',
  'chunked',
  'http2-settings',
  'x',
  'content-length',
  '99',
  'X-Upper',
  '1',
  'x y',
  '1',
  '',
  '1',
  ':status',
  '999',
  'x-line',
  'a\r\nb: c',
  'x-nul',
  'a\0b',
  'x-padded',
  ' \ta b\t ',
  'x-twice',
  '1',
  'x-twice',
  '2',
  'x-wide',
  '\u0416',
  'x-latin',
  '\xfc',
  'x-empty',
  '',
]
const LEFT = [
  'x-line',
  'ab: c',
  'x-nul',
  'ab',
  'x-padded',
  'a b',
  'x-twice',
  '1',
  'x-twice',
  '2',
  'x-wide',
  '\xd0\x96',
  'x-latin',
  '\xfc',
  'x-empty',
  '',
]
const POST: UpstreamRequest = {
  method: 'POST',
  scheme: 'http',
  authority: 'a:80',
  path: '/p',
  headers: ODD,
  bodyLength: 5,
  maybeTrailers: false,
  upgrade: undefined,
}

test('heads and trailers have their pseudo-header fields first and nothing that HTTP/2 does not permit (RFC 9113 §8.2)', () => {
  assert.deepEqual(toResponseFields({ status: 200, headers: ODD, contentLength: 5 }), [
    ':status',
    '200',
    ...LEFT,
    'content-length',
    '5',
  ])
  assert.deepEqual(toInformationalFields(103, ODD), [':status', '103', ...LEFT])
  assert.deepEqual(toTrailerFields(ODD), LEFT)
  assert.deepEqual(toRequestFields(POST, ['te', 'trailers']), [
    ':method',
    'POST',
    ':scheme',
    'http',
    ':authority',
    'a:80',
    ':path',
    '/p',
    ...LEFT,
    'content-length',
    '5',
    'te',
    'trailers',
  ])
})
test('a content-length is said where there is one to say (RFC 9110 §8.6)', () => {
  const answer = (status: number, contentLength: number): string | undefined =>
    toResponseFields({ status, headers: [], contentLength })[3]
  assert.deepEqual(
    [answer(200, UNKNOWN_LENGTH), answer(200, 0), answer(204, 0), answer(304, 7)],
    [undefined, '0', undefined, '7'],
  )
  const asked = (method: string, bodyLength: number): string | undefined =>
    toRequestFields({ ...POST, method, headers: [], bodyLength }, [])[9]
  assert.deepEqual(
    [asked('GET', 0), asked('POST', 0), asked('GET', 3), asked('POST', UNKNOWN_LENGTH)],
    [undefined, '0', '3', undefined],
  )
})
test('no trailers are none', () => {
  assert.equal(toTrailerFields(undefined), undefined)
  assert.equal(toTrailerFields(['connection', 'close']), undefined)
})
