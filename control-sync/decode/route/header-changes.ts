/** request/response_headers_to_add/remove, which stand in route tables, virtual hosts, routes and weighted clusters. */
import type { HeaderAdd, HeaderChanges, HeaderEdit } from '../../../model/route.ts'
import { NO_HEADER_CHANGES } from '../../../model/route.ts'
import { parseSubstitution } from '../../../model/substitution.ts'
import {
  HeaderValueOption_HeaderAppendAction as Append,
  type HeaderValueOption,
} from '../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import type { DecodePath } from '../fields/decode-path.ts'

type Changing = {
  readonly requestHeadersToAdd: readonly HeaderValueOption[]
  readonly requestHeadersToRemove: readonly string[]
  readonly responseHeadersToAdd: readonly HeaderValueOption[]
  readonly responseHeadersToRemove: readonly string[]
}

/** RFC 9110 §5.1 token. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/

export function decodeHeaderChanges(at: DecodePath, from: Changing): HeaderChanges {
  const request = edit(at, 'request', from.requestHeadersToAdd, from.requestHeadersToRemove)
  const response = edit(at, 'response', from.responseHeadersToAdd, from.responseHeadersToRemove)
  return request || response
    ? { request: request ?? NO_HEADER_CHANGES.request, response: response ?? NO_HEADER_CHANGES.response }
    : NO_HEADER_CHANGES
}

function edit(
  at: DecodePath,
  side: 'request' | 'response',
  add: readonly HeaderValueOption[],
  remove: readonly string[],
): HeaderEdit | undefined {
  if (add.length + remove.length === 0) return undefined
  return {
    remove: remove.flatMap((name, i) => decodeHeaderName(at.in(`${side}_headers_to_remove`).item(i), name) ?? []),
    add: add.flatMap((option, i) => decodeHeaderAdd(at.in(`${side}_headers_to_add`).item(i), option) ?? []),
  }
}

export function decodeHeaderAdd(at: DecodePath, option: HeaderValueOption): HeaderAdd | undefined {
  const name = decodeHeaderName(at.in('header').in('key'), option.header?.key ?? '')
  const value = option.header?.value ?? ''
  // A line break would let a configuration value become a header of its own, or a second response (RFC 9110 §5.5).
  if (/[\0\r\n]/.test(value)) {
    at.in('header').in('value').issue('contains a line break or NUL')
    return undefined
  }
  for (const operator of parseSubstitution(value).unknown)
    at.in('header').in('value').ignore(`${operator} stays as it is`)
  const how = howOf(at, option)
  return name === undefined || how === undefined
    ? undefined
    : { name, value, how, ...(option.keepEmptyValue ? { keepEmpty: true } : {}) }
}

function howOf(at: DecodePath, option: HeaderValueOption): HeaderAdd['how'] | undefined {
  switch (option.appendAction) {
    // The deprecated `append: false` says overwrite where no action is set.
    case Append.APPEND_IF_EXISTS_OR_ADD:
      return option.append === false ? 'overwrite' : 'append'
    case Append.ADD_IF_ABSENT:
      return 'if-absent'
    case Append.OVERWRITE_IF_EXISTS_OR_ADD:
      return 'overwrite'
    case Append.OVERWRITE_IF_EXISTS:
      return 'overwrite-present'
    default:
      at.in('append_action').issue('unknown value')
      return undefined
  }
}

export function decodeHeaderName(at: DecodePath, name: string): string | undefined {
  if (NAME.test(name)) return name.toLowerCase()
  at.issue('is no header name')
  return undefined
}
