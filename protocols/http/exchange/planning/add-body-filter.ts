/** Filters of bodies are passed: what they will make of them, and of the request's fields at once. */
import type { HttpFilter } from '../../../../model/listener.ts'
import type { RouteFilter } from '../../../../model/route.ts'
import { collectOffers, createCompression } from '../../filters/bodies/compression.ts'
import { createGrpcWeb } from '../../filters/bodies/grpc-web.ts'
import type { PlanInput } from './plan.ts'
import type { Underway } from './refusals.ts'

export function addBodyFilter(
  filter: Extract<HttpFilter, { kind: 'grpc-web' | 'compressor' }>,
  own: RouteFilter | undefined,
  input: PlanInput,
  { common, routed }: Underway,
): undefined {
  const passed =
    filter.kind === 'compressor'
      ? createCompression(
          { compressor: filter.compressor, route: own?.compressor },
          collectOffers(input.http.filters, routed),
          input,
        )
      : input.upgrade === undefined
        ? createGrpcWeb(input.request.headers ?? [])
        : undefined
  if (passed) common.bodies = [...(common.bodies ?? []), passed]
  return undefined
}
