/** One call of gRPC with one message each way, as a request over HTTP/2 and its answer. Pure. */
import type { AuthService } from '../../model/http/ext-authz.ts'
import { frameGrpc, type MessageWriter } from '../protobuf/message.ts'
import { findHeaderValue } from './filters/header-edit.ts'
import type { OwnAnswer } from './own-call.ts'
import type { FramedQuestion, NoAnswer } from './service-question.ts'

/** @param path of the method */
export function frameUnary(
  { authority, headers }: Pick<AuthService, 'authority' | 'headers'>,
  path: string,
  message: MessageWriter,
): FramedQuestion {
  const bytes = frameGrpc(message.finish())
  const head = {
    method: 'POST',
    scheme: 'http',
    authority,
    path,
    headers: [...headers, 'content-type', 'application/grpc'],
    bodyLength: bytes.length,
    maybeTrailers: false,
    upgrade: undefined,
  } as const
  return { head, bytes }
}

/** @param read takes all of the body, and grpc-status; undefined: none came */
export function readUnary<T>(
  { head, bytes, trailers }: OwnAnswer,
  read: (bytes: Buffer, status: string | undefined) => T,
): T | NoAnswer {
  if (head.status !== 200) return { kind: 'error', why: `the service answered with ${head.status}` }
  return read(bytes, findHeaderValue(trailers ?? [], 'grpc-status') ?? findHeaderValue(head.headers, 'grpc-status'))
}
