/** envoy.extensions.filters.http buffer, compressor and grpc_web, of a listener's filter or of a route. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { CompressedDirection, Compressor, RouteCompressor } from '../../model/http/bodies.ts'
import type { HttpFilter } from '../../model/listener.ts'
import type { RouteFilter } from '../../model/route.ts'
import {
  BufferPerRouteSchema,
  BufferSchema,
  type Buffer,
} from '../../proto/gen/envoy/extensions/filters/http/buffer/v3/buffer_pb.ts'
import {
  CompressorPerRouteSchema,
  CompressorSchema,
  type Compressor as XCompressor,
  type Compressor_CommonDirectionConfig as XDirection,
} from '../../proto/gen/envoy/extensions/filters/http/compressor/v3/compressor_pb.ts'
import { GrpcWebSchema } from '../../proto/gen/envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts'
import { decodeLibrary } from './fields/compression-library.ts'
import { unpack } from './fields/any.ts'
import { noteIgnored, type DecodePath } from './fields/decode-path.ts'

/** Default of Envoy; 0 stands for it, too. */
const MIN_BYTES = 30
const TYPES: ReadonlySet<string> = new Set([
  'text/html',
  'text/plain',
  'text/css',
  'application/javascript',
  'application/x-javascript',
  'text/javascript',
  'text/x-javascript',
  'text/ecmascript',
  'text/js',
  'text/jscript',
  'text/x-js',
  'application/ecmascript',
  'application/x-json',
  'application/xml',
  'application/json',
  'image/svg+xml',
  'text/xml',
  'application/xhtml+xml',
  'application/grpc-web',
  'application/grpc-web+proto',
])

/** @returns undefined: it is another filter */
export function decodeBodyFilter(at: DecodePath, any: Any | undefined, name: string): HttpFilter | undefined {
  const buffer = unpack(at, any, BufferSchema)
  if (buffer) return { kind: 'buffer', name, maxBytes: maxBytesOf(at, buffer) }
  if (unpack(at, any, GrpcWebSchema)) return { kind: 'grpc-web', name }
  const compressor = unpack(at, any, CompressorSchema)
  if (!compressor) return undefined
  noteIgnored(at, CompressorSchema, compressor)
  return { kind: 'compressor', name, compressor: decodeCompressor(at, compressor) }
}

/** @returns undefined: it is for another filter */
export function decodeRouteBodies(at: DecodePath, any: Any | undefined): RouteFilter | undefined {
  const buffer = unpack(at, any, BufferPerRouteSchema)
  if (buffer) {
    const by = buffer.override
    if (by.case === 'disabled') return { off: true }
    if (by.case !== 'buffer') at.issue('neither switches the filter off nor has settings for it')
    return { off: false, ...(by.case === 'buffer' && { bufferBytes: maxBytesOf(at.in('buffer'), by.value) }) }
  }
  const compressor = unpack(at, any, CompressorPerRouteSchema)
  if (!compressor) return undefined
  noteIgnored(at, CompressorPerRouteSchema, compressor)
  const by = compressor.override
  if (by.case === undefined) at.issue('neither switches the filter off nor has settings for it')
  if (by.case !== 'overrides') return { off: false, compressor: { enabled: false } }
  const { responseDirectionConfig: response, compressorLibrary } = by.value
  const made: RouteCompressor = {
    // Its presence says so.
    ...(response && { enabled: true }),
    ...(response?.removeAcceptEncodingHeader !== undefined && {
      hidesAcceptEncoding: response.removeAcceptEncodingHeader,
    }),
    ...(compressorLibrary && {
      library: decodeLibrary(at.in('overrides').in('compressor_library'), compressorLibrary.typedConfig),
    }),
  }
  return { off: false, compressor: made }
}

function maxBytesOf(at: DecodePath, { maxRequestBytes }: Buffer): number {
  if (!maxRequestBytes) at.in('max_request_bytes').issue('must be greater than 0')
  return maxRequestBytes ?? 1
}

function decodeCompressor(at: DecodePath, from: XCompressor): Compressor {
  const { requestDirectionConfig: request, responseDirectionConfig: response } = from
  if (!from.compressorLibrary) at.in('compressor_library').issue('is missing')
  return {
    library: decodeLibrary(at.in('compressor_library'), from.compressorLibrary?.typedConfig),
    // The older fields count where there is no newer one at all.
    response: response
      ? {
          ...directionOf(response.commonConfig),
          keepsEtags: response.disableOnEtagHeader,
          weakensEtags: response.weakenEtagOnCompress,
          hidesAcceptEncoding: response.removeAcceptEncodingHeader,
          exemptStatuses: new Set(response.uncompressibleResponseCodes),
        }
      : {
          enabled: from.runtimeEnabled?.defaultValue ?? true,
          minBytes: from.contentLength || MIN_BYTES,
          types: typesOf(from.contentType),
          keepsEtags: from.disableOnEtagHeader,
          weakensEtags: false,
          hidesAcceptEncoding: from.removeAcceptEncodingHeader,
          exemptStatuses: new Set(),
        },
    request: request && directionOf(request.commonConfig),
    isPreferred: from.chooseFirst,
  }
}
function directionOf(from: XDirection | undefined): CompressedDirection {
  return {
    enabled: from?.enabled?.defaultValue ?? true,
    minBytes: from?.minContentLength || MIN_BYTES,
    types: typesOf(from?.contentType ?? []),
  }
}
const typesOf = (types: readonly string[]): ReadonlySet<string> =>
  types.length === 0 ? TYPES : new Set(types.map((type) => type.toLowerCase()))
