/**
 * Fault injection of a route (envoy.filters.http.fault). Pure; the caller waits and answers. x-envoy-fault-* headers
 * have no say.
 */
import type { Random } from '../../../core/os/clock.ts'
import { matchesHeader } from '../../../model/matcher.ts'
import type { Fault } from '../../../model/route.ts'
import { collectHeaderValues, type RequestFacts } from '../../router.ts'

export type InjectedFault = {
  /** 0: none. Waited before the abort, or before the request goes on. */
  readonly delayMs: number
  /** Answer with this instead of forwarding (MESH_FAULT_INJECTED). `grpcStatus` is meant for gRPC requests. */
  readonly abort: { readonly status: number; readonly grpcStatus: number | undefined } | undefined
}

/** @returns undefined when this request is spared. Delay and abort are drawn independently, as in Envoy. */
export function decideFault(
  fault: Fault | undefined,
  request: RequestFacts,
  random: Random,
): InjectedFault | undefined {
  if (!fault || !fault.headers.every((h) => matchesHeader(h, collectHeaderValues(request, h.name)))) return undefined
  const delayMs = fault.delay && random.float() < fault.delay.fraction ? fault.delay.ms : 0
  const abort = fault.abort && random.float() < fault.abort.fraction ? fault.abort : undefined
  return delayMs === 0 && !abort
    ? undefined
    : { delayMs, abort: abort && { status: abort.status, grpcStatus: abort.grpcStatus } }
}
