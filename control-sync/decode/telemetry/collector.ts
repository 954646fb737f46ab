/** Services that take spans and entries of access logs → Collector. A text says why there is none. */
import type { Collector, Envelope } from '../../../model/access-log/collector.ts'
import type { Duration } from '@bufbuild/protobuf/wkt'
import type { GrpcService } from '../../../proto/gen/envoy/config/core/v3/grpc_service_pb.ts'
import type { HttpService } from '../../../proto/gen/envoy/config/core/v3/http_service_pb.ts'
import { hasUnknown, type DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const FIELD_VALUE = /^[^\0\r\n]*$/

/** @param path of the method. @returns undefined where it leads to no cluster */
export function decodeGrpcCollector(
  at: DecodePath,
  from: GrpcService | undefined,
  path: string,
  envelope: Envelope,
): Collector | undefined {
  const { case: kind, value: envoy } = from?.targetSpecifier ?? {}
  if (!from || kind !== 'envoyGrpc' || envoy!.clusterName === '' || hasUnknown(from)) return undefined
  return {
    cluster: envoy!.clusterName,
    authority: envoy!.authority || envoy!.clusterName,
    path,
    headers: from.initialMetadata.flatMap(({ key, value }) => fieldOf(key, value)),
    ...timeoutOf(at.in('timeout'), from.timeout),
    speaks: 'grpc',
    envelope,
  }
}

/** @returns undefined where it leads to no cluster */
export function decodeHttpCollector(
  at: DecodePath,
  from: HttpService | undefined,
  envelope: Envelope,
): Collector | undefined {
  const { httpUri: uri } = from ?? {}
  const cluster = uri?.httpUpstreamType.value ?? ''
  if (!from || !uri || cluster === '' || uri.uri === '' || hasUnknown(from)) return undefined
  return {
    cluster,
    ...splitUri(uri.uri, cluster),
    headers: from.requestHeadersToAdd.flatMap(({ header }, i) => {
      const { key = '', value = '' } = header ?? {}
      // Operators would have to say the environment or a file of Envoy's.
      if (value.includes('%')) at.in('request_headers_to_add').item(i).ignore('a header with operators is not sent')
      return value.includes('%') ? [] : fieldOf(key, value)
    }),
    ...timeoutOf(at.in('http_uri').in('timeout'), uri.timeout),
    speaks: 'http',
    envelope,
  }
}

/** With or without a scheme; a path alone is of the cluster's name, as in Envoy. */
function splitUri(uri: string, cluster: string): { readonly authority: string; readonly path: string } {
  const rest = uri.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
  const slash = rest.indexOf('/')
  const host = slash < 0 ? rest : rest.slice(0, slash)
  return { authority: printable(host) || cluster, path: printable(slash < 0 ? '/' : rest.slice(slash)) }
}
/** It goes into the first line of a request. */
const printable = (text: string): string => text.replaceAll(/[^\x21-\x7e]/g, '')

function fieldOf(name: string, value: string): readonly string[] {
  return FIELD_NAME.test(name) && FIELD_VALUE.test(value) ? [name.toLowerCase(), value] : []
}

function timeoutOf(at: DecodePath, from: Duration | undefined): { readonly timeoutMs?: number } {
  const timeoutMs = decodeMs(at, from)
  return timeoutMs === undefined || timeoutMs === 0 ? {} : { timeoutMs }
}
