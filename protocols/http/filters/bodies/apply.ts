/** The filters of an exchange's bodies, put between it and its client in the order in which it has passed them. */
import type { Downstream } from '../../message.ts'
import type { HttpRuntime } from '../../runtime.ts'
import type { BodyFilter, BodySink } from './body-filter.ts'
import { CompressedAnswer, type BodyOwner } from './compressed-answer.ts'
import { CompressedRequest } from './compressed-request.ts'
import { Base64Body, GrpcWebAnswer } from './grpc-web.ts'

/** Answers go from the last filter to the first. */
export function filterAnswer(
  filters: readonly BodyFilter[],
  to: Downstream,
  owner: BodyOwner,
  rt: HttpRuntime,
): Downstream {
  let down = to
  for (const filter of filters)
    down =
      filter.kind === 'grpc-web'
        ? new GrpcWebAnswer(down, filter.isTextAnswer)
        : new CompressedAnswer(down, filter.answer, owner, rt)
  return down
}

/** @returns where the client's bytes go, and whom to ask to pause it; undefined: they are not changed */
export function filterRequest(
  filters: readonly BodyFilter[],
  to: BodySink,
  down: Downstream,
  owner: BodyOwner,
  rt: HttpRuntime,
): { readonly sink: BodySink; readonly down: Downstream } | undefined {
  let sink = to
  let gate = down
  for (const filter of filters.toReversed())
    if (filter.kind === 'grpc-web') {
      if (filter.isTextRequest) sink = new Base64Body(sink, (error) => owner.abort(error))
    } else if (filter.request) {
      const compressed = new CompressedRequest(gate, filter.request, sink, owner, rt)
      sink = compressed
      gate = compressed
    }
  return sink === to ? undefined : { sink, down: gate }
}
