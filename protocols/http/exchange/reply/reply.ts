/** Answers that meshlet gives itself: refusals with their catalogue code, redirects, direct responses. Pure. */
import { MeshError } from '../../../../core/errors.ts'
import { asFieldValue } from '../../codec/field-value.ts'
import type { ResponseHead } from '../../message.ts'
import { removeHeader } from '../../codec/field-table.ts'
import { findFirstValue, setHeader } from '../../filters/header-edit.ts'
import { deriveGrpcStatus, encodeMessage } from './grpc-words.ts'
import type { AnswerPlan, DeniedPlan, RefusePlan } from '../planning/plan.ts'
import { UNKNOWN_LENGTH } from '../../codec/framing.ts'

/** Before it is known whether the caller speaks gRPC. */
export type LocalReply = {
  readonly status: number
  readonly headers: string[]
  /** Bytes as latin1 characters. */
  readonly text: string
  /** Ends the text where it is sent as it is, to be read by people. */
  readonly end: '' | '\n'
  /** Where it does not follow from `status`. */
  readonly grpcStatus?: number | undefined
}
export type LocalAnswer = { readonly head: ResponseHead; readonly body: Buffer | undefined }

/** A refusal: the code in x-meshlet-error. */
export function createErrorReply(error: MeshError, status = error.row.http): LocalReply {
  const headers = ['x-meshlet-error', error.code]
  // Envoy: another proxy is not to try it at once.
  if (error.code === 'MESH_UPSTREAM_OVERFLOW') headers.push('x-envoy-overloaded', 'true')
  // What a policy refuses is said in Envoy's own words: clients and tests look for them.
  if (error.code === 'MESH_PEER_NOT_ALLOWED') return { status, headers, text: encodeText(error.message), end: '' }
  // The one that is the caller's own deadline, or stands in for it (Envoy: the same).
  const grpcStatus = error.code === 'MESH_STREAM_DURATION' ? DEADLINE_EXCEEDED : undefined
  return { status, headers, text: encodeText(`${error.code}: ${error.message}`), end: '\n', grpcStatus }
}

/** What a plan that needs no endpoint answers, and the error that it is counted as. */
export function createPlannedReply(plan: AnswerPlan | RefusePlan | DeniedPlan): {
  readonly reply: LocalReply
  readonly error: MeshError | undefined
} {
  switch (plan.kind) {
    case 'refuse':
      return { reply: createErrorReply(plan.error, plan.status), error: plan.error }
    case 'denied': {
      // In the words of the service that was asked.
      const { status, body: text, error, grpcStatus } = plan
      return { reply: { status, headers: ['x-meshlet-error', error.code], text, end: '', grpcStatus }, error }
    }
    case 'answer':
      return { reply: ownReply(plan), error: plan.fault && new MeshError('MESH_FAULT_INJECTED', plan.body) }
    default:
      return plan satisfies never
  }
}
/** A direct response, a redirect, an injected abort (Envoy's fault filter) or a filter's own answer. */
function ownReply({ fault, status, body, location, fields }: AnswerPlan): LocalReply {
  const headers = [...(fields ?? [])]
  if (fault) headers.push('x-meshlet-error', 'MESH_FAULT_INJECTED')
  if (location !== undefined) headers.push('location', asFieldValue(location))
  return { status, headers, text: encodeText(body), end: '', grpcStatus: fault?.grpcStatus }
}
/** UTF-8 as latin1 characters. */
const encodeText = (text: string): string => Buffer.from(text).toString('latin1')

/** gRPC callers get trailers-only (status 200), and the text as its message. */
export function toAnswer(reply: LocalReply, grpc: boolean): LocalAnswer {
  return grpc ? toGrpcAnswer(reply) : toTextAnswer(reply)
}

function toTextAnswer({ status, text, end, headers }: LocalReply): LocalAnswer {
  const isBodiless = status < 200 || status === 204 || status === 304
  const body = isBodiless || text.length === 0 ? undefined : Buffer.from(text + end, 'latin1')
  if (!body) removeHeader(headers, 'content-type')
  else if (findFirstValue(headers, 'content-type') === undefined) headers.push('content-type', 'text/plain')
  return { head: { status, headers, contentLength: body?.length ?? UNKNOWN_LENGTH }, body }
}

function toGrpcAnswer({ status, text, headers, grpcStatus }: LocalReply): LocalAnswer {
  const isJson = findFirstValue(headers, 'content-type') === 'application/json'
  removeHeader(headers, 'content-type')
  headers.push('content-type', 'application/grpc')
  if (findFirstValue(headers, 'grpc-status') === undefined)
    headers.push('grpc-status', String(grpcStatus ?? deriveGrpcStatus(status)))
  // The end of a line of JSON is none of the message.
  if (text !== '') setHeader(headers, 'grpc-message', encodeMessage(isJson ? text.replace(/\n$/, '') : text))
  return { head: { status: 200, headers, contentLength: UNKNOWN_LENGTH }, body: undefined }
}

const DEADLINE_EXCEEDED = 4
