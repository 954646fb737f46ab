import type { CompressionLibrary, Compressor } from '../../../../../model/http/bodies.ts'

export const GZIP: CompressionLibrary = { encoding: 'gzip', level: -1, strategy: 0, windowBits: 12, memoryLevel: 5 }
export const compressorOf = (library: CompressionLibrary, more: Partial<Compressor> = {}): Compressor => ({
  library,
  response: {
    enabled: true,
    minBytes: 30,
    types: new Set(['text/html']),
    keepsEtags: false,
    weakensEtags: false,
    hidesAcceptEncoding: false,
    exemptStatuses: new Set(),
  },
  request: undefined,
  isPreferred: false,
  ...more,
})
