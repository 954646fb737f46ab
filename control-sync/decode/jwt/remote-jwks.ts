/** envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks: where the keys of an issuer are fetched from. */
import type { RemoteJwks } from '../../../model/http/jwt.ts'
import type { RemoteJwks as XRemoteJwks } from '../../../proto/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'

/** Envoy's defaults, but for the time, which it wants to be told. */
const TIMEOUT_MS = 5_000
const CACHE_MS = 600_000
const FAILED_REFETCH_MS = 1_000
const BACKOFF_MS = 1_000
const TRIES_AGAIN = 1
/** However short a configuration wants them to be: issuers are other people's servers. */
const LEAST_MS = 1_000
/** A request waits for the first answer. */
const MAX_TIMEOUT_MS = 60_000
/** The time of the whole bounds them before. */
const MAX_TRIES_AGAIN = 16
const MAX_URI_CHARS = 2_048

/** @returns undefined with an issue: it cannot be fetched */
export function decodeRemoteJwks(at: DecodePath, from: XRemoteJwks): RemoteJwks | undefined {
  const here = at.in('http_uri')
  const uri = splitUri(from.httpUri?.uri ?? '')
  const cluster = from.httpUri?.httpUpstreamType.value ?? ''
  if (!uri) here.in('uri').issue('is no address of a document')
  if (cluster === '') here.in('cluster').issue('is missing')
  const timeoutMs = decodeMs(here.in('timeout'), from.httpUri?.timeout) || TIMEOUT_MS
  const refreshMs = decodeMs(at.in('cache_duration'), from.cacheDuration) || CACHE_MS
  const refetch = at.in('async_fetch').in('failed_refetch_duration')
  const failedRefetchMs = decodeMs(refetch, from.asyncFetch?.failedRefetchDuration) || FAILED_REFETCH_MS
  if (!uri || cluster === '') return undefined
  return {
    ...uri,
    cluster,
    timeoutMs: Math.min(MAX_TIMEOUT_MS, timeoutMs),
    refreshMs: Math.max(LEAST_MS, refreshMs),
    failedRefetchMs: Math.max(LEAST_MS, failedRefetchMs),
    ...decodeTries(at.in('retry_policy'), from.retryPolicy),
  }
}

function decodeTries(at: DecodePath, from: XRemoteJwks['retryPolicy']): Pick<RemoteJwks, 'retries' | 'backoff'> {
  const here = at.in('retry_back_off')
  const baseMs = decodeMs(here.in('base_interval'), from?.retryBackOff?.baseInterval) || BACKOFF_MS
  const capMs = decodeMs(here.in('max_interval'), from?.retryBackOff?.maxInterval) || baseMs * 10
  const retries = from ? Math.min(MAX_TRIES_AGAIN, from.numRetries ?? TRIES_AGAIN) : 0
  return { retries, backoff: { baseMs, capMs } }
}

/** As Envoy takes it apart: the scheme may be missing, and the way there is the cluster's. */
function splitUri(uri: string): Pick<RemoteJwks, 'scheme' | 'authority' | 'path'> | undefined {
  const parts = uri.length <= MAX_URI_CHARS ? URI.exec(uri)?.groups : undefined
  const authority = parts?.['authority']
  if (authority === undefined) return undefined
  const scheme = parts?.['scheme']?.toLowerCase() === 'https' ? 'https' : 'http'
  const rest = parts?.['rest'] ?? ''
  return { scheme, authority, path: rest.startsWith('/') ? rest : `/${rest}` }
}
/** Without a fragment, and without what could break a request line. */
const URI =
  /^(?:(?<scheme>https?):\/\/)?(?<authority>(?:[\w.~-]+|\[[\da-f:.]+\])(?::\d{1,5})?)(?<rest>[/?][\x21\x22\x24-\x7e]*)?(?:#[\x21-\x7e]*)?$/i
