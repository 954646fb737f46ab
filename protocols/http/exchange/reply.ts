/** Answers that meshlet gives itself: refusals with their catalogue code, redirects, direct responses. Pure. */
import { MeshError } from '../../../core/errors.ts'
import { asFieldValue } from '../codec/field-value.ts'
import type { ResponseHead } from '../message.ts'
import { findFirstValue, setHeader } from '../filters/header-edit.ts'
import type { AnswerPlan, DeniedPlan, RefusePlan } from './planning/plan.ts'
import { UNKNOWN_LENGTH } from '../codec/framing.ts'

export type LocalAnswer = { readonly head: ResponseHead; readonly body: Buffer | undefined }

/**
 * A refusal: the code in x-meshlet-error. gRPC callers get trailers-only (status 200).
 * @param fields more of the answer, flat
 */
export function createErrorAnswer(
  error: MeshError,
  grpc: boolean,
  fields: readonly string[] = [],
  status = error.row.http,
): LocalAnswer {
  const answer = grpc ? grpcErrorAnswer(error, status) : createTextErrorAnswer(error, status)
  // Envoy: another proxy is not to try it at once.
  if (error.code === 'MESH_UPSTREAM_OVERFLOW') answer.head.headers.push('x-envoy-overloaded', 'true')
  answer.head.headers.push(...fields)
  return answer
}

/** In the words of the service that was asked, where it has some. */
function deniedAnswer({ status, fields, body, error }: DeniedPlan, grpc: boolean): LocalAnswer {
  const headers = [...fields]
  if (headers.indexOf('x-meshlet-error') < 0) headers.push('x-meshlet-error', error.code)
  const bytes = Buffer.from(body, 'latin1')
  if (grpc) return grpcAnswer(deriveGrpcStatus(status), bytes.toString('utf8'), withoutType(headers))
  const type = findFirstValue(headers, 'content-type')
  const answer = textAnswer(status, bytes, withoutType(headers))
  if (type !== undefined && answer.body) setHeader(answer.head.headers, 'content-type', type)
  return answer
}
function withoutType(headers: readonly string[]): string[] {
  return headers.filter((_, i) => headers[i - (i % 2)] !== 'content-type')
}

/** Status of the code's row, one line of text. */
export function createTextErrorAnswer(error: MeshError, status = error.row.http): LocalAnswer {
  const end = error.code === 'MESH_PEER_NOT_ALLOWED' ? '' : '\n'
  return textAnswer(status, textOf(error) + end, ['x-meshlet-error', error.code])
}

function grpcErrorAnswer(error: MeshError, status: number): LocalAnswer {
  // The one that is the caller's own deadline, or stands in for it (Envoy: the same).
  const code = error.code === 'MESH_STREAM_DURATION' ? DEADLINE_EXCEEDED : deriveGrpcStatus(status)
  return grpcAnswer(code, textOf(error), ['x-meshlet-error', error.code])
}

/** What a policy refuses is said in Envoy's own words: clients and tests look for them. */
const textOf = ({ code, message }: MeshError): string =>
  code === 'MESH_PEER_NOT_ALLOWED' ? message : `${code}: ${message}`

/** What a plan that needs no endpoint answers, and the error that it is counted as. */
export function createPlannedAnswer(
  plan: AnswerPlan | RefusePlan | DeniedPlan,
  grpc: boolean,
): { readonly answer: LocalAnswer; readonly error: MeshError | undefined } {
  switch (plan.kind) {
    case 'refuse':
      return { answer: createErrorAnswer(plan.error, grpc, plan.fields, plan.status), error: plan.error }
    case 'denied':
      return { answer: deniedAnswer(plan, grpc), error: plan.error }
    case 'answer':
      return {
        answer: ownAnswer(plan, grpc),
        error: plan.fault && new MeshError('MESH_FAULT_INJECTED', plan.body),
      }
    default:
      return plan satisfies never
  }
}
function ownAnswer({ fault, status, body, location, fields }: AnswerPlan, grpc: boolean): LocalAnswer {
  if (fields) return { head: { status, headers: [...fields], contentLength: 0 }, body: undefined }
  return fault ? faultAnswer(status, fault.grpcStatus, grpc, body) : routeAnswer(status, body, location, grpc)
}

/** An injected abort (Envoy's fault filter): its gRPC status where one is configured and the caller speaks gRPC. */
function faultAnswer(status: number, grpcCode: number | undefined, grpc: boolean, body: string): LocalAnswer {
  const headers = ['x-meshlet-error', 'MESH_FAULT_INJECTED']
  if (grpc) return grpcAnswer(grpcCode ?? deriveGrpcStatus(status), body, headers)
  return textAnswer(status, body, headers)
}

/**
 * A direct response or redirect of a route; a gRPC caller gets its words.
 * @param location undefined for a direct response
 */
function routeAnswer(status: number, body: string, location: string | undefined, grpc: boolean): LocalAnswer {
  const headers = location === undefined ? [] : ['location', asFieldValue(location)]
  return grpc ? grpcAnswer(deriveGrpcStatus(status), body, headers) : textAnswer(status, body, headers)
}

function textAnswer(status: number, text: string | Buffer, headers: string[]): LocalAnswer {
  const bodiless = status < 200 || status === 204 || status === 304
  const body = bodiless || text.length === 0 ? undefined : Buffer.from(text as string)
  if (body) headers.push('content-type', 'text/plain')
  return { head: { status, headers, contentLength: bodiless ? UNKNOWN_LENGTH : (body?.length ?? 0) }, body }
}

function grpcAnswer(code: number, message: string, headers: string[]): LocalAnswer {
  headers.push('content-type', 'application/grpc', 'grpc-status', String(code))
  if (message !== '') headers.push('grpc-message', percentEncoded(message))
  return { head: { status: 200, headers, contentLength: 0 }, body: undefined }
}

const DEADLINE_EXCEEDED = 4

/**
 * gRPC's "HTTP to gRPC Status Code Mapping" (doc/http-grpc-status-mapping.md), which Envoy follows for its own answers,
 * timeouts among them.
 */
export function deriveGrpcStatus(http: number): number {
  switch (http) {
    case 400:
      return 13
    case 401:
      return 16
    case 403:
      return 7
    case 404:
      return 12
    case 429:
    case 502:
    case 503:
    case 504:
      return 14
    default:
      return 2
  }
}

/** gRPC over HTTP/2, Status-Message: space to ~ without % stand as they are. */
function percentEncoded(text: string): string {
  let out = ''
  for (const byte of Buffer.from(text))
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return out
}
