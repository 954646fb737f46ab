/** envoy.extensions.compression: how bodies are compressed. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { CompressionLibrary } from '../../../model/http/bodies.ts'
import {
  Brotli_EncoderMode as Mode,
  BrotliSchema,
} from '../../../proto/gen/envoy/extensions/compression/brotli/compressor/v3/brotli_pb.ts'
import { GzipSchema } from '../../../proto/gen/envoy/extensions/compression/gzip/compressor/v3/gzip_pb.ts'
import { ZstdSchema } from '../../../proto/gen/envoy/extensions/compression/zstd/compressor/v3/zstd_pb.ts'
import { readEffectiveType, unpack } from './any.ts'
import { noteIgnored, type DecodePath } from './decode-path.ts'

const PLAIN: CompressionLibrary = { encoding: 'gzip', level: -1, strategy: 0, windowBits: 12, memoryLevel: 5 }

export function decodeLibrary(at: DecodePath, any: Any | undefined): CompressionLibrary {
  const here = at.in('typed_config')
  const gzip = unpack(here, any, GzipSchema)
  if (gzip) {
    noteIgnored(here, GzipSchema, gzip)
    return {
      encoding: 'gzip',
      level: within(here.in('compression_level'), gzip.compressionLevel, 0, 9) || -1,
      strategy: within(here.in('compression_strategy'), gzip.compressionStrategy, 0, 4),
      windowBits: within(here.in('window_bits'), gzip.windowBits ?? 12, 9, 15),
      memoryLevel: within(here.in('memory_level'), gzip.memoryLevel ?? 5, 1, 9),
    }
  }
  const brotli = unpack(here, any, BrotliSchema)
  if (brotli) {
    noteIgnored(here, BrotliSchema, brotli)
    return {
      encoding: 'br',
      quality: within(here.in('quality'), brotli.quality ?? 3, 0, 11),
      mode: brotli.encoderMode === Mode.TEXT ? 'text' : brotli.encoderMode === Mode.FONT ? 'font' : 'generic',
      windowBits: within(here.in('window_bits'), brotli.windowBits ?? 18, 10, 24),
      blockBits: within(here.in('input_block_bits'), brotli.inputBlockBits ?? 24, 16, 24),
      modelsLiterals: !brotli.disableLiteralContextModeling,
    }
  }
  const zstd = unpack(here, any, ZstdSchema)
  if (zstd) {
    noteIgnored(here, ZstdSchema, zstd)
    if (zstd.dictionary) here.in('dictionary').issue('is not supported')
    return {
      encoding: 'zstd',
      level: within(here.in('compression_level'), zstd.compressionLevel ?? 3, 1, 22),
      hasChecksum: zstd.enableChecksum,
      strategy: within(here.in('strategy'), zstd.strategy, 0, 9),
    }
  }
  if (any) here.issue(`${readEffectiveType(here, any)} is no library that meshlet knows`)
  return PLAIN
}

function within(at: DecodePath, value: number, least: number, most: number): number {
  if (value >= least && value <= most) return value
  at.issue(`must be ${least} to ${most}`)
  return least
}
