/** What filters make of bodies: envoy.extensions.filters.http compressor, grpc_web and buffer. */

export type Compressor = {
  readonly library: CompressionLibrary
  readonly response: CompressedDirection & {
    /** An answer with an etag stays as it is. */
    readonly keepsEtags: boolean
    /** A strong etag becomes a weak one; else it goes. */
    readonly weakensEtags: boolean
    /** The endpoint is not asked to compress by itself. */
    readonly hidesAcceptEncoding: boolean
    readonly exemptStatuses: ReadonlySet<number>
  }
  readonly request: CompressedDirection | undefined
  /** Among encodings that the client wants equally. */
  readonly isPreferred: boolean
}
export type CompressedDirection = {
  readonly enabled: boolean
  /** Shorter ones stay as they are, where the length is known. */
  readonly minBytes: number
  /** Lower case. */
  readonly types: ReadonlySet<string>
}
export type CompressionLibrary =
  | {
      readonly encoding: 'gzip'
      /** 1 to 9; -1 = zlib's own. */
      readonly level: number
      /** As zlib numbers them. */
      readonly strategy: number
      readonly windowBits: number
      readonly memoryLevel: number
    }
  | {
      readonly encoding: 'br'
      readonly quality: number
      readonly mode: 'generic' | 'text' | 'font'
      readonly windowBits: number
      readonly blockBits: number
      readonly modelsLiterals: boolean
    }
  | {
      readonly encoding: 'zstd'
      readonly level: number
      readonly hasChecksum: boolean
      /** As libzstd numbers them; 0 = what the level says. */
      readonly strategy: number
    }

/** What a route says to a compressor; `enabled` is about answers, as in Envoy. */
export type RouteCompressor = {
  readonly enabled?: boolean
  readonly hidesAcceptEncoding?: boolean
  readonly library?: CompressionLibrary
}
