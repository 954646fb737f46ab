/**
 * What a stream's messages must be (RFC 9113 §8.1.1), with what was said on the stream before. Each function returns
 * what is wrong, or undefined.
 */
import { ErrorCode } from '../../codec/h2-frames.ts'
import {
  readDeclaredLength,
  findEmptyBodyProblem,
  findLengthProblem,
  readMethod,
  findRequestProblem,
  findTrailersProblem,
} from '../../codec/h2-message-rules.ts'
import type { Http2Stream } from './stream.ts'

type Request = { readonly end: boolean; readonly oversized: boolean; readonly extendedConnect: boolean }

/** Sets what the request says about the stream. */
export function checkRequest(
  stream: Http2Stream,
  fields: readonly string[],
  { end, oversized, extendedConnect }: Request,
): string | undefined {
  const method = readMethod(fields)
  stream.isHead = method === 'HEAD'
  // What a CONNECT carries is no content (RFC 9110 §9.3.6).
  if (method !== 'CONNECT') stream.expectedBytes = readDeclaredLength(fields)
  return (oversized ? undefined : findRequestProblem(fields, extendedConnect)) ?? bodyProblem(stream, end)
}

/** The final head; sets what it says about the stream. */
export function checkResponse(
  stream: Http2Stream,
  fields: readonly string[],
  status: number,
  end: boolean,
): string | undefined {
  stream.hasHead = true
  const declared = readDeclaredLength(fields)
  // RFC 9110 §6.4.1: no content, whatever content-length says; but it goes on, and must say one thing.
  if (stream.isHead || status === 204 || status === 304) {
    stream.expectedBytes = 0
    return findLengthProblem(declared)
  }
  if (!stream.isConnect || status >= 300) stream.expectedBytes = declared
  return bodyProblem(stream, end)
}

function bodyProblem({ expectedBytes }: Http2Stream, end: boolean): string | undefined {
  return end ? findEmptyBodyProblem(expectedBytes) : findLengthProblem(expectedBytes)
}

/** A field list after a head and DATA. */
export function checkTrailers(stream: Http2Stream, fields: readonly string[], end: boolean): string | undefined {
  const { expectedBytes, receivedBytes } = stream
  if (!end) return 'a second head'
  return (
    findTrailersProblem(fields) ?? (expectedBytes >= 0 && receivedBytes !== expectedBytes ? WRONG_LENGTH : undefined)
  )
}

type StreamProblem = { readonly code: number; readonly problem: string }

/**
 * DATA comes: counts it against the stream's window and its content-length.
 * @returns what resets the stream
 */
export function receiveData(
  stream: Http2Stream,
  bytes: number,
  paddingBytes: number,
  end: boolean,
): StreamProblem | undefined {
  if (stream.remoteEnded) return { code: ErrorCode.STREAM_CLOSED, problem: MISPLACED }
  // A client's stream gets a head first.
  if (!stream.hasHead) return { code: ErrorCode.PROTOCOL_ERROR, problem: MISPLACED }
  stream.receivedBytes += bytes
  if (!stream.window.receive(bytes + paddingBytes))
    return { code: ErrorCode.FLOW_CONTROL_ERROR, problem: 'more DATA than the window of the stream' }
  const { expectedBytes, receivedBytes } = stream
  if (expectedBytes >= 0 && (receivedBytes > expectedBytes || (end && receivedBytes < expectedBytes)))
    return { code: ErrorCode.PROTOCOL_ERROR, problem: WRONG_LENGTH }
  return undefined
}
const MISPLACED = 'DATA where none may come'
const WRONG_LENGTH = 'not as much DATA as content-length says'
