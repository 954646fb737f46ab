/** envoy.extensions.filters.http.fault.v3.HTTPFault, of a listener's filter or of a route. */
import type { Fault } from '../../model/route.ts'
import type { HTTPFault } from '../../proto/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts'
import type { DecodePath } from './fields/decode-path.ts'
import { decodeHeaderMatches } from './fields/matchers.ts'
import { decodeFraction, decodeMs } from './fields/values.ts'

/**
 * @returns undefined when it injects nothing (Istio puts an empty one into every listener). Envoy's default share is 0.
 */
export function decodeFault(at: DecodePath, from: HTTPFault): Fault | undefined {
  const delay = delayOf(at.in('delay'), from)
  const abort = abortOf(at.in('abort'), from)
  if (from.upstreamCluster !== '') {
    at.in('upstream_cluster').ignore('faults for one cluster only are not injected')
    return undefined
  }
  if (!delay && !abort) return undefined
  return { delay, abort, headers: decodeHeaderMatches(at.in('headers'), from.headers) }
}

function delayOf(at: DecodePath, { delay }: HTTPFault): Fault['delay'] {
  if (delay?.faultDelaySecifier.case !== 'fixedDelay') return undefined
  return {
    ms: decodeMs(at.in('fixed_delay'), delay.faultDelaySecifier.value) ?? 0,
    fraction: decodeFraction(at.in('percentage'), delay.percentage) ?? 0,
  }
}

function abortOf(at: DecodePath, { abort }: HTTPFault): Fault['abort'] {
  if (!abort) return undefined
  const share = decodeFraction(at.in('percentage'), abort.percentage) ?? 0
  switch (abort.errorType.case) {
    case 'httpStatus': {
      const status = abort.errorType.value
      if (status < 200 || status > 599) {
        at.in('http_status').issue('must be 200 to 599')
        return undefined
      }
      return { status, grpcStatus: undefined, fraction: share }
    }
    // gRPC errors travel in a response of status 200.
    case 'grpcStatus':
      return { status: 200, grpcStatus: abort.errorType.value, fraction: share }
    case 'headerAbort':
    case undefined:
      return undefined
    default:
      return abort.errorType satisfies never
  }
}
