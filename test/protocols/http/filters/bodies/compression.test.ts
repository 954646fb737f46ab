import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Compressor, CompressionLibrary } from '../../../../../model/http/bodies.ts'
import {
  createCompression,
  chooseEncoding,
  decideAnswer,
} from '../../../../../protocols/http/filters/bodies/compression.ts'
import type { Offer } from '../../../../../protocols/http/filters/bodies/body-filter.ts'
import { compressorOf, GZIP } from './compressors.ts'

const offer = (library: CompressionLibrary = GZIP, more: Partial<Compressor> = {}): Offer => ({
  compressor: compressorOf(library, more),
  route: undefined,
})
const BR: CompressionLibrary = {
  encoding: 'br',
  quality: 1,
  mode: 'generic',
  windowBits: 18,
  blockBits: 24,
  modelsLiterals: true,
}
const HTML = ['content-type', 'text/html']

for (const [accepts, want] of [
  ['gzip', 'gzip'],
  ['GZIP', 'identity'],
  ['gzip;q=0', 'identity'],
  ['gzip;q=0, *', 'br'],
  ['*', 'gzip'],
  ['*;q=0', 'identity'],
  ['br;q=0.5, gzip;q=0.4', 'br'],
  ['gzip;q=a, br;q=0.1', 'br'],
  ['identity, gzip;q=0.5', 'identity'],
  ['', 'identity'],
  [', ,', 'identity'],
  ['gzip;q=1e400', 'gzip'],
] as const)
  test(`of gzip and br, ${JSON.stringify(accepts)} gets ${want}`, () =>
    assert.equal(chooseEncoding(accepts, [offer(), offer(BR)], HTML), want))

test('the preferred one is taken among equals', () =>
  assert.equal(chooseEncoding('gzip, br', [offer(), offer(BR, { isPreferred: true })], HTML), 'br'))

test('an answer that is compressed has another etag, and says what it depends on', () => {
  const head = { status: 200, headers: [...HTML, 'etag', '"a"', 'vary', 'Cookie'], contentLength: 100 }
  const how = { ...offer(), accepts: 'gzip', offers: [offer()] }
  assert.equal(decideAnswer(how, head, false)?.encoding, 'gzip')
  assert.deepEqual(head.headers, [...HTML, 'content-encoding', 'gzip', 'vary', 'Cookie, Accept-Encoding'])
})
test('a strong etag becomes a weak one where the listener says so', () => {
  const weak = offer(GZIP, { response: { ...compressorOf(GZIP).response, weakensEtags: true } })
  const head = { status: 200, headers: ['etag', '"a"'], contentLength: -1 }
  decideAnswer({ ...weak, accepts: 'gzip', offers: [weak] }, head, false)
  assert.equal(head.headers[1], 'W/"a"')
})
test('a client that did not ask gets it as it is; caches are told all the same', () => {
  const head = { status: 200, headers: [...HTML], contentLength: -1 }
  assert.equal(decideAnswer({ ...offer(), accepts: undefined, offers: [offer()] }, head, false), undefined)
  assert.deepEqual(head.headers, [...HTML, 'vary', 'Accept-Encoding'])
})
test('a request is compressed where its direction is on, and not twice', () => {
  const up = offer(GZIP, { request: { enabled: true, minBytes: 30, types: new Set(['text/html']) } })
  const compressed = (headers: string[], bodyLength = 100): unknown => {
    const made = createCompression(up, [up], { request: { headers, bodyLength }, upgrade: undefined })
    return made.kind === 'compress' && made.request?.encoding
  }
  const headers = [...HTML]
  assert.equal(compressed(headers), 'gzip')
  assert.deepEqual(headers, [...HTML, 'content-encoding', 'gzip'])
  assert.equal(compressed(headers), undefined)
  assert.equal(compressed([...HTML], 29), undefined)
  assert.equal(compressed([...HTML], 0), undefined)
  assert.equal(compressed(['content-type', 'image/png']), undefined)
})
