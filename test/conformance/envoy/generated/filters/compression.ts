/** compressor by chance, of answers; answers of the proxies' own are of another type and stay as they are. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { Dice } from '../../../../fuzz/live/words.ts'
import { chance, compact } from '../matches.ts'

const type = (name: string): string => `type.googleapis.com/envoy.extensions.${name}`
const LIBRARIES = ['gzip', 'brotli', 'zstd'] as const
export const ENCODINGS = [
  'gzip',
  'br',
  'zstd',
  '*',
  'gzip;q=0',
  'br, gzip;q=0.5',
  'identity',
  'deflate',
  'zstd;q=x, br',
]
/** What the endpoint says of its answer (endpoint.ts). */
export const ANSWER_WORDS = ['html', 'upper', 'png', 'etag', 'weak', 'encoded', 'no-transform', 'vary'] as const

const nameOf = (library: string): string => `compressor-${library}`
function library(name: (typeof LIBRARIES)[number]): JsonObject {
  const message = `${name[0]!.toUpperCase()}${name.slice(1)}`
  return { name, typed_config: { '@type': type(`compression.${name}.compressor.v3.${message}`) } }
}
export function compressors(dice: Dice): JsonObject[] {
  return LIBRARIES.filter(() => dice.hits(0.5)).map((name) => ({
    name: nameOf(name),
    typed_config: compact({
      '@type': type('filters.http.compressor.v3.Compressor'),
      compressor_library: library(name),
      choose_first: chance(dice, 0.3, () => true),
      response_direction_config: compact({
        common_config: compact({
          content_type: ['text/html'],
          min_content_length: chance(dice, 0.3, () => dice.one([1, 300, 100_000])),
          enabled: chance(dice, 0.2, () => ({ default_value: false, runtime_key: 'none' })),
        }),
        disable_on_etag_header: chance(dice, 0.2, () => true),
        remove_accept_encoding_header: chance(dice, 0.2, () => true),
        uncompressible_response_codes: chance(dice, 0.1, () => [200]),
      }),
    }),
  }))
}
export function compressorOverride(dice: Dice): JsonObject {
  const config: JsonObject = dice.hits(0.4)
    ? { disabled: true }
    : {
        overrides: {
          response_direction_config: compact({
            remove_accept_encoding_header: chance(dice, 0.5, () => dice.hits(0.5)),
          }),
        },
      }
  return {
    [nameOf(dice.one(LIBRARIES))]: { '@type': type('filters.http.compressor.v3.CompressorPerRoute'), ...config },
  }
}
