/** What an authorization service has said of a request, and what becomes of the request then. */
import type { Json } from '../../../../model/http/metadata.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import type { RequestFacts } from '../../../router.ts'
import { asFieldValue } from '../../codec/field-value.ts'
import { isHopByHop, removeWithLookAlikes, toPlainName } from '../../codec/field-table.ts'
import { isExchangeHeader } from '../../../telemetry/exchange-headers.ts'
import { findHeaderValue, setHeader } from '../header-edit.ts'
import { removeParam } from '../jwt/tokens.ts'

/**
 * `append`: behind what is there, joined, and only where something is (Envoy); `add`: a line of its own; `set`: in place
 * of all.
 */
export type HeaderChange = {
  readonly name: string
  readonly value: string
  readonly how: 'set' | 'append' | 'add' | 'if-absent' | 'overwrite-present'
}

export type Verdict =
  | {
      readonly kind: 'ok'
      readonly request: readonly HeaderChange[]
      readonly remove: readonly string[]
      /** Of the answer, whoever gives it. */
      readonly response: readonly HeaderChange[]
      readonly query: readonly (readonly [name: string, value: string | undefined])[]
      readonly metadata: Json
    }
  | {
      readonly kind: 'denied'
      readonly status: number
      readonly headers: readonly HeaderChange[]
      readonly body: string
      readonly metadata: Json
    }
  /** More of a body than the service is to get. */
  | { readonly kind: 'too-large' }
  /** Nobody knows. */
  | { readonly kind: 'error'; readonly why: string }
  /** It agrees to another request than the one that could be sent. */
  | { readonly kind: 'invalid'; readonly why: string }

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const NO_VALUE = /[\0\r\n]/

/** Framing, the host and what proxies say to each other are out of reach for a service (Envoy's validate_mutations: an error). */
export function isChangeable({ name, value }: Pick<HeaderChange, 'name' | 'value'>): boolean {
  return (
    NAME.test(name) &&
    !NO_VALUE.test(value) &&
    name !== 'host' &&
    name !== 'content-length' &&
    !isHopByHop(name) &&
    !isExchangeHeader(name)
  )
}

/** @returns the first change that a service may not make */
export function findBadChange(verdict: Verdict): string | undefined {
  if (verdict.kind === 'denied') return verdict.headers.find((change) => !isChangeable(change))?.name
  if (verdict.kind !== 'ok') return undefined
  const { request, response } = verdict
  return (
    findImpossible(verdict) ??
    [...request.filter(({ name }) => !TARGET.has(name)), ...response].find((change) => !isChangeable(change))?.name
  )
}

/** Where the request goes, as Envoy lets a service say it. */
const TARGET: ReadonlySet<string> = new Set([':path', ':authority', 'host'])

/**
 * Framing and fields of one connection are ours and stay as they are. Any other change of the request is part of what
 * the service agrees to: one that cannot be made is not left out.
 * @returns its name
 */
export function findImpossible(verdict: Verdict): string | undefined {
  if (verdict.kind !== 'ok') return undefined
  const bad = verdict.request.find(({ name, value }) => NO_VALUE.test(value) || (!TARGET.has(name) && !NAME.test(name)))
  return bad?.name
}

/** How the listener reads a path and a host; they throw MESH_MALFORMED_INPUT for what it would refuse of a client. */
export type TargetForm = { readonly path: (path: string) => string; readonly host: (host: string) => string }

/**
 * In place. Throws what `form` throws.
 *
 * @param form left out: the service has no say in where the request goes
 * @returns whether anything is different now
 */
export function applyVerdict(
  { request, remove, query }: Extract<Verdict, { kind: 'ok' }>,
  to: RequestFacts,
  headers: string[],
  form?: TargetForm,
): boolean {
  let isChanged = false
  for (const change of request) {
    const { name, value } = change
    if (form && TARGET.has(name)) {
      if (name === ':path') to.path = form.path(value)
      else to.authority = form.host(value)
      isChanged = true
      continue
    }
    if (!isChangeable(change)) continue
    if (change.how === 'set') takeAway(name, to, headers)
    isChanged = changeHeader(headers, change) || isChanged
  }
  for (const name of remove) if (isChangeable({ name, value: '' })) isChanged = takeAway(name, to, headers) || isChanged
  for (const [name, value] of query) {
    const key = asQuery(name)
    to.path = removeParam(to.path, key)
    if (value !== undefined) to.path += `${to.path.includes('?') ? '&' : '?'}${key}=${asQuery(value)}`
    isChanged = true
  }
  return isChanged
}

/** The service writes it as it is to stand there (Envoy); what no request line may hold is escaped. */
function asQuery(text: string): string {
  return text.toWellFormed().replace(/[^\x21-\x7e]+|#/g, encodeURIComponent)
}

/** Also what reads as that name, here and in trailers. @returns whether there was something */
function takeAway(name: string, from: RequestFacts, headers: string[]): boolean {
  const [before, plain] = [headers.length, toPlainName(name)]
  from.written = (from.written ?? new Set()).add(plain)
  removeWithLookAlikes(headers, new Set([plain]))
  return headers.length < before
}

function changeHeader(headers: string[], { name, value, how }: HeaderChange): boolean {
  const before = findHeaderValue(headers, name)
  const text = asFieldValue(value)
  if ((how === 'append' || how === 'overwrite-present') && before === undefined) return false
  if (how === 'if-absent' && before !== undefined) return false
  if (how === 'append') setHeader(headers, name, `${before},${text}`)
  else if (how === 'add') headers.push(name, text)
  else setHeader(headers, name, text)
  return true
}

/** As the changes of a route are, which is where they are made. */
export function toResponseEdit(changes: readonly HeaderChange[]): HeaderEdit | undefined {
  const add = changes.filter(isChangeable).map(({ name, value, how }) => ({
    name,
    // It is text, and stands for nothing.
    value: asFieldValue(value).replaceAll('%', '%%'),
    how: how === 'set' ? ('overwrite' as const) : how === 'add' || how === 'append' ? ('append' as const) : how,
    keepEmpty: true,
  }))
  return add.length === 0 ? undefined : { remove: [], add }
}

/** Of a refusal: each a line of its own, in place of what the route says of that name. */
export function toRefusalEdit(changes: readonly HeaderChange[]): HeaderEdit {
  const { add = [] } = toResponseEdit(changes.map((change) => ({ ...change, how: 'add' }))) ?? {}
  return { remove: add.map(({ name }) => name), add }
}
