/**
 * Header changes of route tables, over flat arrays: lower-case names at even indexes, values at odd ones. Framing and
 * routing fields are out of reach, whatever a configuration says: a proxy that lets a route rewrite `transfer-encoding`
 * forwards two messages as one.
 */
import { MeshError } from '../../../core/errors.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { HeaderAdd, HeaderEdit } from '../../../model/route.ts'
import {
  parseSubstitution,
  substitute,
  type Substitution,
  type SubstitutionFacts,
} from '../../../model/substitution.ts'
import { matchesString } from '../../../model/matcher.ts'
import { isHopByHop, removeHeader } from '../codec/field-table.ts'

/**
 * Envoy refuses pseudo headers and host; the rest is the message framing that the codec owns (RFC 9112 §6), as are the
 * fields of one connection.
 */
const UNTOUCHABLE: ReadonlySet<string> = new Set(['host', 'content-length'])
/** A token (RFC 9110 §5.1), so that no name starts a line of its own. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

/**
 * Applies the edits in place, each one's removals before its additions. Envoy's order of the edits is weighted cluster,
 * route, virtual host, route table. An addition whose value comes out empty is left out, unless it is to be kept.
 */
export function editHeaders(headers: string[], edits: readonly HeaderEdit[], facts: SubstitutionFacts): void {
  for (const edit of edits) {
    for (const name of edit.remove) if (isEditable(name)) removeHeader(headers, name)
    const { removeMatching } = edit
    if (removeMatching)
      for (const name of new Set(headers.filter((_, i) => i % 2 === 0)))
        if (isEditable(name) && matchesString(removeMatching, name)) removeHeader(headers, name)
    addHeaders(headers, edit.add, facts)
  }
}

/**
 * Field names with an underscore, as the listener wants them treated (headers_with_underscores_action): CGI and its kin
 * take `x_user` and `x-user` for one name.
 * @returns why the request is to be refused
 */
export function applyUnderscores(
  action: HttpConnectionManager['underscores'],
  headers: string[],
): MeshError | undefined {
  if (action === undefined) return undefined
  for (let i = 0; i < headers.length; i += 2) {
    if (!headers[i]!.includes('_')) continue
    if (action === 'refuse')
      return new MeshError(
        'MESH_MALFORMED_INPUT',
        'the name of a field holds an underscore (headers_with_underscores_action)',
      )
    removeHeader(headers, headers[i]!)
    i -= 2
  }
  return undefined
}

/** All values of a name joined with ','; undefined when there is none. */
export function findHeaderValue(headers: readonly string[], name: string): string | undefined {
  let found: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === name) found = found === undefined ? headers[i + 1]! : `${found},${headers[i + 1]!}`
  }
  return found
}

/** The first line of that name, which is what Envoy's %REQ% and %RESP% say. */
export function findFirstValue(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1]
  return undefined
}

/** RFC 9110 §7.6.3: behind the proxies that were there before. */
export function addVia(headers: string[], via: string): void {
  const before = headers.flatMap((name, i) => (i % 2 === 0 && name === 'via' ? [headers[i + 1]!] : []))
  setHeader(headers, 'via', [...before, via].join(', '))
}

/** One line of that name with that value, in place of any there are. */
export function setHeader(headers: string[], name: string, value: string): void {
  removeHeader(headers, name)
  headers.push(name, value)
}

/**
 * As Envoy's HeaderParser: what is added, and whether it is, follows from the headers as they came, so that the
 * additions of one list do not see each other; those that take another's place come first.
 */
function addHeaders(headers: string[], additions: readonly HeaderAdd[], facts: SubstitutionFacts): void {
  const taken = additions
    .filter((add) => isEditable(add.name) && isDue(add, headers))
    .map((add) => ({ add, value: valueOf(add, facts) }))
    .filter(({ add, value }) => value !== '' || add.keepEmpty === true)
  for (const { add, value } of taken) if (takesPlace(add)) setHeader(headers, add.name, value)
  for (const { add, value } of taken) if (!takesPlace(add)) headers.push(add.name, value)
}
function isDue({ how, name }: HeaderAdd, headers: readonly string[]): boolean {
  switch (how) {
    case 'append':
    case 'overwrite':
      return true
    case 'overwrite-present':
      return findHeaderValue(headers, name) !== undefined
    case 'if-absent':
      return findHeaderValue(headers, name) === undefined
    default:
      return how satisfies never
  }
}
function takesPlace({ how }: HeaderAdd): boolean {
  return how === 'overwrite' || how === 'overwrite-present'
}

/** Parsed once per configured value; they live as long as the route table. */
const parsed = new WeakMap<HeaderAdd, Substitution>()

function valueOf(add: HeaderAdd, facts: SubstitutionFacts): string {
  if (!add.value.includes('%')) return safe(add.value)
  let made = parsed.get(add)
  if (!made) {
    made = parseSubstitution(add.value)
    parsed.set(add, made)
  }
  return safe(substitute(made, facts))
}

/** RFC 9110 §5.5: CR, LF and NUL never stand in a field value. */
function safe(value: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\r\n\0]/.test(value) ? '' : value
}

/** No framing, and nothing of one connection. */
export function isEditable(name: string): boolean {
  return FIELD_NAME.test(name) && !UNTOUCHABLE.has(name) && !isHopByHop(name)
}
