/** What the filters that an exchange has passed make of its bodies, as its plan says it. */
import type { CompressionLibrary, Compressor, RouteCompressor } from '../../../../model/http/bodies.ts'

/** One compressor of the chain, with what the route says to it. */
export type Offer = { readonly compressor: Compressor; readonly route: RouteCompressor | undefined }
export type AnswerCompression = Offer & {
  /** Of the client, before anybody took it away. */
  readonly accepts: string | undefined
  /** All of the chain: one choice is made among them. */
  readonly offers: readonly Offer[]
}

export type BodyFilter =
  | { readonly kind: 'grpc-web'; readonly isTextRequest: boolean; readonly isTextAnswer: boolean }
  | {
      readonly kind: 'compress'
      /** Undefined: the request goes on as it is. */
      readonly request: CompressionLibrary | undefined
      readonly answer: AnswerCompression
    }

/** What is made of a request's body is not as long as it was. */
export function isRequestChanged(filters: readonly BodyFilter[] | undefined): boolean {
  return filters?.some((filter) => filter.kind === 'grpc-web' || filter.request !== undefined) ?? false
}

/** What comes is base64 of what goes on. */
export function isTextRequest(filters: readonly BodyFilter[] | undefined): boolean {
  return filters?.some((filter) => filter.kind === 'grpc-web' && filter.isTextRequest) ?? false
}

/** The client speaks gRPC-Web: an answer of our own is not one of gRPC until the filter has made it one. */
export function isGrpcWeb(filters: readonly BodyFilter[] | undefined): boolean {
  return filters?.some((filter) => filter.kind === 'grpc-web') ?? false
}

/** Takes a body in pieces, and passes on what it makes of them. */
export interface BodySink {
  data(chunk: Buffer): void
  end(trailers: readonly string[] | undefined): void
}
