/** How large a request's head may be: one answer for both codecs. */
import { MeshError } from '../../core/errors.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { HttpConnectionManager } from '../../model/listener.ts'
import type { Limits } from '../context.ts'
import type { HeadLimits } from './codec/h1-head.ts'

/** Envoy's default for max_request_headers_kb: nobody's wish, so agent.yaml's `limits` counts there. */
const DEFAULT_BYTES = 60 * 1024
/** Envoy's default for responses. */
const RESPONSE_BYTES = 80 * 1024
/** Of a field in HTTP/1: colon, space, CR and LF. */
const FIELD_OVERHEAD = 4
/** Of a field in the measure of SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 §6.5.2). */
export const LIST_OVERHEAD = 32
const COLON = 58

/** What a listener says for itself is not cut: its operator knows what is sent there. */
export function deriveRequestHeadLimits(
  { maxRequestHeadersBytes, maxHeaders }: HttpConnectionManager,
  limits: Pick<Limits, 'maxHeaderBytes' | 'maxHeaderCount'>,
): HeadLimits {
  return {
    maxHeaderBytes:
      maxRequestHeadersBytes > 0 && maxRequestHeadersBytes !== DEFAULT_BYTES
        ? maxRequestHeadersBytes
        : limits.maxHeaderBytes,
    maxHeaderCount: maxHeaders ?? limits.maxHeaderCount,
  }
}

/**
 * Of an endpoint's response: bounds of their own, for what strangers send says nothing about what a service answers.
 */
export function deriveResponseHeadLimits(
  { maxResponseHeadersBytes, maxResponseHeaders }: Cluster,
  limits: Pick<Limits, 'maxHeaderCount'>,
): HeadLimits {
  return {
    maxHeaderBytes: maxResponseHeadersBytes ?? RESPONSE_BYTES,
    maxHeaderCount: maxResponseHeaders ?? limits.maxHeaderCount,
  }
}

/**
 * SETTINGS_MAX_HEADER_LIST_SIZE counts each field with 32 bytes more. Here the list is measured as the HTTP/1 head that
 * it would be. @param raw names and values in turn, pseudo-header fields included @throws MESH_HEADERS_TOO_LARGE
 */
export function checkFieldList(raw: readonly string[], { maxHeaderBytes, maxHeaderCount }: HeadLimits): void {
  let bytes = 0
  let count = 0
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    bytes += name.length + raw[i + 1]!.length + FIELD_OVERHEAD
    // :authority is a Host field there, the others are the request line.
    if (name.charCodeAt(0) !== COLON || name === ':authority') count++
  }
  if (bytes > maxHeaderBytes)
    throw new MeshError('MESH_HEADERS_TOO_LARGE', `the fields are longer than ${maxHeaderBytes} bytes`)
  if (count > maxHeaderCount) throw new MeshError('MESH_HEADERS_TOO_LARGE', `more than ${maxHeaderCount} fields`)
}
