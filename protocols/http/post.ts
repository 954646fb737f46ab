/** One request of our own with a body, of which only the outcome counts. */
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Post } from '../telemetry/export/offer.ts'
import { findFirstValue } from './filters/header-edit.ts'
import type { HttpUpstreams } from './message.ts'
import { OwnCall, type OwnAnswer, type OwnCallEnd } from './own-call.ts'

const TIMEOUT_MS = 10_000
/** Of an answer that nobody reads. */
const MAX_ANSWER_BYTES = 1024 * 1024

/** Rejects with the codes of HttpUpstreams.startCall, and MESH_UPSTREAM_TIMEOUT. */
export function createPost(upstreams: HttpUpstreams, clock: Clock): Post {
  return (cluster, { authority, path, headers, body, speaks, timeoutMs = TIMEOUT_MS }) =>
    new Promise((resolve, reject) => {
      const more = { method: 'POST', scheme: 'http', maybeTrailers: false, upgrade: undefined } as const
      const head = { ...more, authority, path, headers, bodyLength: body.length }
      const options = { speaks, fresh: false, host: authority, originalDst: undefined, maxHostPicks: 3 }
      const bounds = { timeoutMs, maxAnswerBytes: MAX_ANSWER_BYTES, keepsAnswer: false }
      const onOver = (end: OwnCallEnd): void => {
        if (end.kind === 'answered') resolve(summarize(end.answer))
        else reject(toError(end, timeoutMs))
      }
      const call = new OwnCall('', { head, body: [body] }, { ...options, ...bounds }, { onOver })
      call.start(upstreams, clock, cluster)
    })
}

function summarize({ head, trailers }: OwnAnswer): Awaited<ReturnType<Post>> {
  const inTrailers = trailers && findFirstValue(trailers, 'grpc-status')
  return { status: head.status, grpcStatus: inTrailers ?? findFirstValue(head.headers, 'grpc-status') }
}

function toError(end: Exclude<OwnCallEnd, { kind: 'answered' }>, timeoutMs: number): MeshError {
  switch (end.kind) {
    case 'failed':
      return end.error
    case 'late':
      return new MeshError('MESH_UPSTREAM_TIMEOUT', `no answer within ${timeoutMs} ms`)
    case 'moved':
      return new MeshError('MESH_UPSTREAM_RESET', 'the cluster was replaced')
    case 'too-large':
      return new MeshError('MESH_UPSTREAM_PROTOCOL', 'the answer is larger than any of that kind')
    case 'upgraded':
      return new MeshError('MESH_UPSTREAM_PROTOCOL', 'the endpoint switched protocols without being asked')
    default:
      return end satisfies never
  }
}
