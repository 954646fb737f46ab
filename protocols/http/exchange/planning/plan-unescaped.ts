/** UNESCAPE_AND_REDIRECT of path_with_escaped_slashes_action: the client is to ask for the path that we read. */
import { MeshError } from '../../../../core/errors.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import { isGrpc } from '../../../router.ts'
import { hasEscapedSlash } from '../../filters/path-normalize.ts'
import { collectMutations } from '../../filters/route-edits.ts'
import type { RequestHead } from '../../message.ts'
import type { Common, Plan } from './plan.ts'

/** Nobody was asked yet, and no route is known. */
const NOTHING: Common = { delayMs: 0, shadow: undefined, routeName: '', responseEdits: [] }

/** @returns undefined: it may go on */
export function planUnescaped(
  request: RequestHead,
  { escapedSlashes, filters }: HttpConnectionManager,
): Plan | undefined {
  if (escapedSlashes !== 'redirect' || !hasEscapedSlash(request.target)) return undefined
  const { path } = request
  // gRPC follows no redirect (Envoy refuses, too); `//name` and `/\name` lead a browser to another server.
  if (isGrpc(request.header('content-type')) || /^\/[/\\]/.test(path)) {
    const error = new MeshError(
      'MESH_MALFORMED_INPUT',
      'the request path holds an escaped slash (path_with_escaped_slashes_action)',
    )
    return { ...NOTHING, kind: 'refuse', error, rule: undefined }
  }
  // As in Envoy: header_mutation changes the answer, by what the listener says alone.
  const { response } = collectMutations(filters, undefined)
  return {
    ...NOTHING,
    responseEdits: response,
    routeEdits: 0,
    kind: 'answer',
    status: 307,
    body: '',
    location: path,
    fault: undefined,
  }
}
