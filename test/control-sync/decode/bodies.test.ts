import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, type JsonObject } from '@bufbuild/protobuf'
import { decodeBodyFilter, decodeRouteBodies } from '../../../control-sync/decode/bodies.ts'
import { DecodePath } from '../../../control-sync/decode/fields/decode-path.ts'
import type { HttpFilter } from '../../../model/listener.ts'
import type { RouteFilter } from '../../../model/route.ts'
import { AnySchema, type Any } from '@bufbuild/protobuf/wkt'
import { loadRegistry } from '../../../proto/registry.ts'

const type = (name: string): string => `type.googleapis.com/envoy.extensions.${name}`
const any = (json: JsonObject): Any => fromJson(AnySchema, json, { registry: loadRegistry() })
const library = (name: string, config: JsonObject = {}): JsonObject => ({
  compressor_library: {
    name,
    typed_config: { '@type': type(`compression.${name.toLowerCase()}.compressor.v3.${name}`), ...config },
  },
})
const COMPRESSOR = { '@type': type('filters.http.compressor.v3.Compressor') }

function decode(json: JsonObject): { readonly made: HttpFilter | undefined; readonly issues: string } {
  const at = DecodePath.top()
  const made = decodeBodyFilter(at, any(json), 'f')
  return { made, issues: at.issues.map(({ path, problem }) => `${path} ${problem}`).join() }
}
const perRoute = (json: JsonObject): RouteFilter | undefined => decodeRouteBodies(DecodePath.top(), any(json))

test('a compressor with newer fields', () => {
  const { made, issues } = decode({
    ...COMPRESSOR,
    ...library('Brotli', { quality: 5, encoder_mode: 'FONT' }),
    choose_first: true,
    request_direction_config: { common_config: { content_type: ['A/B'], min_content_length: 9 } },
    response_direction_config: {
      common_config: { enabled: { default_value: false, runtime_key: 'k' } },
      uncompressible_response_codes: [500],
      weaken_etag_on_compress: true,
    },
    content_length: 77,
  })
  assert.equal(issues, '')
  assert.ok(made?.kind === 'compressor')
  const { compressor } = made
  assert.deepEqual(compressor.library, {
    encoding: 'br',
    quality: 5,
    mode: 'font',
    windowBits: 18,
    blockBits: 24,
    modelsLiterals: true,
  })
  assert.deepEqual(compressor.request, { enabled: true, minBytes: 9, types: new Set(['a/b']) })
  assert.equal(compressor.response.enabled, false)
  assert.equal(compressor.response.minBytes, 30)
  assert.equal(compressor.response.weakensEtags, true)
  assert.equal(compressor.isPreferred, true)
})
test('a compressor with the older fields', () => {
  const { made } = decode({ ...COMPRESSOR, ...library('Gzip'), content_length: 77, disable_on_etag_header: true })
  assert.ok(made?.kind === 'compressor')
  assert.equal(made.compressor.response.minBytes, 77)
  assert.equal(made.compressor.response.keepsEtags, true)
  assert.equal(made.compressor.request, undefined)
  assert.deepEqual(made.compressor.library, {
    encoding: 'gzip',
    level: -1,
    strategy: 0,
    windowBits: 12,
    memoryLevel: 5,
  })
})
test('buffer and grpc_web', () => {
  assert.deepEqual(decode({ '@type': type('filters.http.buffer.v3.Buffer'), max_request_bytes: 5 }).made, {
    kind: 'buffer',
    name: 'f',
    maxBytes: 5,
  })
  assert.deepEqual(decode({ '@type': type('filters.http.grpc_web.v3.GrpcWeb') }).made, { kind: 'grpc-web', name: 'f' })
})
test('settings of the libraries', () => {
  const of = (name: string, config: JsonObject): unknown => {
    const { made } = decode({ ...COMPRESSOR, ...library(name, config) })
    return made?.kind === 'compressor' && made.compressor.library
  }
  assert.deepEqual(
    of('Gzip', { compression_strategy: 'RLE', compression_level: 'BEST_COMPRESSION', memory_level: 9 }),
    {
      encoding: 'gzip',
      level: 9,
      strategy: 3,
      windowBits: 12,
      memoryLevel: 9,
    },
  )
  assert.equal(
    (of('Brotli', { disable_literal_context_modeling: true, input_block_bits: 16 }) as { modelsLiterals: boolean })
      .modelsLiterals,
    false,
  )
  assert.deepEqual(of('Zstd', { enable_checksum: true, strategy: 'FAST' }), {
    encoding: 'zstd',
    level: 3,
    hasChecksum: true,
    strategy: 1,
  })
})
test('runtime_enabled, where it is off by default', () => {
  const off = { runtime_enabled: { default_value: false, runtime_key: 'k' } }
  const { made } = decode({ ...COMPRESSOR, ...library('Gzip'), ...off })
  assert.equal(made?.kind === 'compressor' && made.compressor.response.enabled, false)
})

for (const [config, problem] of [
  [COMPRESSOR, 'compressor_library is missing'],
  [{ ...COMPRESSOR, ...library('Gzip', { window_bits: 16 }) }, 'window_bits must be 9 to 15'],
  [{ ...COMPRESSOR, ...library('Brotli', { quality: 12 }) }, 'quality must be 0 to 11'],
  [{ ...COMPRESSOR, ...library('Zstd', { compression_level: 23 }) }, 'compression_level must be 1 to 22'],
  [{ ...COMPRESSOR, ...library('Zstd', { dictionary: { inline_string: 'x' } }) }, 'dictionary is not supported'],
  [{ '@type': type('filters.http.buffer.v3.Buffer') }, 'max_request_bytes must be greater than 0'],
] satisfies [JsonObject, string][])
  test(`an issue: ${problem}`, () => assert.match(decode(config).issues, new RegExp(problem)))

test('what routes say', () => {
  const buffer = { '@type': type('filters.http.buffer.v3.BufferPerRoute') }
  assert.deepEqual(perRoute({ ...buffer, disabled: true }), { off: true })
  assert.deepEqual(perRoute({ ...buffer, buffer: { max_request_bytes: 3 } }), { off: false, bufferBytes: 3 })
  const compressor = { '@type': type('filters.http.compressor.v3.CompressorPerRoute') }
  assert.deepEqual(perRoute({ ...compressor, disabled: true }), { off: false, compressor: { enabled: false } })
  assert.deepEqual(
    perRoute({ ...compressor, overrides: { response_direction_config: { remove_accept_encoding_header: true } } }),
    { off: false, compressor: { enabled: true, hidesAcceptEncoding: true } },
  )
  assert.deepEqual(perRoute({ ...compressor, overrides: {} }), { off: false, compressor: {} })
})
