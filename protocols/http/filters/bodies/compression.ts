/**
 * Whether a body is compressed, and how its head says so, as Envoy's compressor filter decides it (RFC 9110 §8.4.1,
 * §12.5.3). Pure.
 */
import type { CompressedDirection, CompressionLibrary } from '../../../../model/http/bodies.ts'
import type { HttpFilter } from '../../../../model/listener.ts'
import { removeHeader } from '../../codec/field-table.ts'
import { UNKNOWN_LENGTH } from '../../codec/framing.ts'
import type { RequestFacts, Routed } from '../../../router.ts'
import type { ResponseHead } from '../../message.ts'
import { findFirstValue, findHeaderValue, setHeader } from '../header-edit.ts'
import type { AnswerCompression, BodyFilter, Offer } from './body-filter.ts'

type Asked = { readonly request: Pick<RequestFacts, 'headers' | 'bodyLength'>; readonly upgrade: string | undefined }

/** All compressors of the chain that are on. */
export function collectOffers(filters: readonly HttpFilter[], routed: Routed | undefined): readonly Offer[] {
  return filters.flatMap((filter): Offer | [] => {
    if (filter.kind !== 'compressor') return []
    const own = routed?.route.filters?.get(filter.name)
    return (own ? own.off : filter.off) ? [] : { compressor: filter.compressor, route: own?.compressor }
  })
}

/** The request comes by: its fields are changed in place. */
export function createCompression(offer: Offer, offers: readonly Offer[], { request, upgrade }: Asked): BodyFilter {
  const headers = request.headers ?? []
  const accepts = findHeaderValue(headers, 'accept-encoding')
  if (isEnabled(offer) && (offer.route?.hidesAcceptEncoding ?? offer.compressor.response.hidesAcceptEncoding))
    removeHeader(headers, 'accept-encoding')
  const { request: direction } = offer.compressor
  const library = libraryOf(offer)
  const isCompressed =
    direction?.enabled &&
    request.bodyLength !== 0 &&
    upgrade === undefined &&
    isLongEnough(direction, request.bodyLength ?? UNKNOWN_LENGTH) &&
    isOfType(direction, headers) &&
    findFirstValue(headers, 'content-encoding') === undefined
  if (isCompressed) headers.push('content-encoding', library.encoding)
  return { kind: 'compress', request: isCompressed ? library : undefined, answer: { ...offer, accepts, offers } }
}

/** @returns what the answer is compressed with; undefined: it goes on as it is. Fields are changed in place. */
export function decideAnswer(of: AnswerCompression, head: ResponseHead, end: boolean): CompressionLibrary | undefined {
  const { response } = of.compressor
  const { headers, status } = head
  if (!isEnabled(of) || !isLongEnough(response, head.contentLength)) return undefined
  const isCompressible =
    !response.exemptStatuses.has(status) &&
    isOfType(response, headers) &&
    !(findHeaderValue(headers, 'cache-control') ?? '')
      .split(',')
      .some((t) => t.trim().toLowerCase() === 'no-transform') &&
    !(response.keepsEtags && findFirstValue(headers, 'etag') !== undefined) &&
    findFirstValue(headers, 'content-encoding') === undefined
  if (!isCompressible) return undefined
  const library = libraryOf(of)
  const isChosen =
    !end && of.accepts !== undefined && chooseEncoding(of.accepts, of.offers, headers) === library.encoding
  if (isChosen) {
    changeEtag(headers, response.weakensEtags)
    headers.push('content-encoding', library.encoding)
  }
  // Caches are told of it also where this client did not ask.
  addVary(headers)
  return isChosen ? library : undefined
}

const isEnabled = ({ compressor, route }: Offer): boolean => route?.enabled ?? compressor.response.enabled
const libraryOf = ({ compressor, route }: Offer): CompressionLibrary => route?.library ?? compressor.library
const isLongEnough = ({ minBytes }: CompressedDirection, length: number): boolean =>
  length === UNKNOWN_LENGTH || length >= minBytes

function isOfType({ types }: CompressedDirection, headers: readonly string[]): boolean {
  const type = findFirstValue(headers, 'content-type')
  return type === undefined || types.has(mediaType(type))
}
const mediaType = (value: string): string => value.split(';', 1)[0]!.trim().toLowerCase()

/** @returns `identity` where none is wanted */
export function chooseEncoding(accepts: string, offers: readonly Offer[], headers: readonly string[]): string {
  const allowed = new Map<string, boolean>()
  for (const offer of offers) {
    const { encoding } = libraryOf(offer)
    if (isOfType(offer.compressor.response, headers) && !allowed.has(encoding))
      allowed.set(encoding, offer.compressor.isPreferred)
  }
  const [first] = allowed.keys()
  const wanted = accepts.split(',').flatMap((text) => readWanted(text) ?? [])
  for (const { encoding, weight } of wanted) if (weight === 0) allowed.delete(encoding)
  let choice = { encoding: 'identity', weight: 0 }
  for (const one of wanted) {
    if (one.encoding !== 'identity' && one.encoding !== '*' && !allowed.has(one.encoding)) continue
    if (one.weight > choice.weight || (one.weight === choice.weight && allowed.get(one.encoding))) choice = one
  }
  if (choice.encoding !== '*') return choice.weight > 0 ? choice.encoding : 'identity'
  return allowed.has(first ?? '') ? first! : ([...allowed.keys()][0] ?? 'identity')
}

/** @returns undefined: nothing, or its weight is no number */
function readWanted(text: string): { readonly encoding: string; readonly weight: number } | undefined {
  const [name = '', ...rest] = text.split(';')
  if (text === '') return undefined
  const [, key = '', value = ''] = /^([^=]*)=(.*)$/s.exec(rest.join(';')) ?? []
  const encoding = name.trim()
  if (key.trim().toLowerCase() !== 'q') return { encoding, weight: 1 }
  return NUMBER.test(value.trim()) ? { encoding, weight: Number(value.trim()) } : undefined
}
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i

/** A compressed body is another one than the tag was made for, byte by byte (RFC 9110 §8.8.1). */
function changeEtag(headers: string[], weakens: boolean): void {
  const etag = findFirstValue(headers, 'etag')
  if (etag === undefined || etag.length <= 2 || /^w\//i.test(etag)) return
  if (weakens) setHeader(headers, 'etag', `W/${etag}`)
  else removeHeader(headers, 'etag')
}

function addVary(headers: string[]): void {
  const vary = findHeaderValue(headers, 'vary')
  if (vary === undefined) headers.push('vary', 'Accept-Encoding')
  else if (!vary.split(',').some((name) => name.trim() === 'Accept-Encoding'))
    setHeader(headers, 'vary', `${vary}, Accept-Encoding`)
}
