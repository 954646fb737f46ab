/** Header operations of a VirtualService (core/route/route.go TranslateHeadersOperations). */
import { compareText } from '../config.ts'
import type { Headers } from '../kinds/virtual-service.ts'
import type { Json } from '../json.ts'

export type HeaderChanges = {
  readonly requestAdd: readonly Json[]
  readonly requestRemove: readonly string[]
  readonly responseAdd: readonly Json[]
  readonly responseRemove: readonly string[]
  /** Of the pseudo header, which is a rewrite. */
  readonly authority: string
}
export const NO_CHANGES: HeaderChanges = {
  requestAdd: [],
  requestRemove: [],
  responseAdd: [],
  responseRemove: [],
  authority: '',
}

export function readHeaders(headers: Headers | undefined): HeaderChanges {
  if (!headers) return NO_CHANGES
  const { request = {}, response = {} } = headers
  return {
    requestAdd: [...list(request.set, 'set'), ...list(request.add, 'add')],
    requestRemove: (request.remove ?? []).filter((name) => !isInternal(name)),
    responseAdd: [...list(response.set, 'set'), ...list(response.add, 'add')],
    responseRemove: (response.remove ?? []).filter((name) => !isInternal(name)),
    authority: findAuthority(request.set) || findAuthority(request.add),
  }
}

export function joinChanges(a: HeaderChanges, b: HeaderChanges): HeaderChanges {
  return {
    requestAdd: [...a.requestAdd, ...b.requestAdd],
    requestRemove: [...a.requestRemove, ...b.requestRemove],
    responseAdd: [...a.responseAdd, ...b.responseAdd],
    responseRemove: [...a.responseRemove, ...b.responseRemove],
    authority: a.authority || b.authority,
  }
}

export function writeHeaders(c: HeaderChanges): Json {
  return {
    ...(c.requestAdd.length > 0 ? { request_headers_to_add: [...c.requestAdd] } : {}),
    ...(c.requestRemove.length > 0 ? { request_headers_to_remove: [...c.requestRemove] } : {}),
    ...(c.responseAdd.length > 0 ? { response_headers_to_add: [...c.responseAdd] } : {}),
    ...(c.responseRemove.length > 0 ? { response_headers_to_remove: [...c.responseRemove] } : {}),
  }
}

type Values = Readonly<Record<string, string>>

function list(values: Values = {}, how: 'add' | 'set'): Json[] {
  return Object.entries(values)
    .filter(([name]) => !isInternal(name))
    .sort(([a], [b]) => compareText(a, b))
    .map(([key, value]) => ({
      header: { key, value },
      append_action: how === 'add' ? 'APPEND_IF_EXISTS_OR_ADD' : 'OVERWRITE_IF_EXISTS_OR_ADD',
    }))
}
function findAuthority(values: Values = {}): string {
  return Object.entries(values).find(([name]) => /^(?::authority|host)$/i.test(name))?.[1] ?? ''
}
function isInternal(name: string): boolean {
  return name.startsWith(':') || name.toLowerCase() === 'host'
}
