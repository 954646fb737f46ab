/** Requests by chance, of the words that the route tables are made of. */
import type { Dice } from '../../../fuzz/live/words.ts'
import { ORIGINS } from './filters/cors.ts'
import { OUTCOMES } from './endpoint.ts'
import { FIELD_NAMES, FIELD_VALUES, HOSTS, PARAMETERS, pathOf, SEGMENTS } from './matches.ts'
import { CLUSTERS } from './routes.ts'
import { AUTH_WORDS } from './filters/authz.ts'
import { LIMIT_WORDS } from './filters/limits.ts'
import { ANSWER_WORDS, ENCODINGS } from './filters/compression.ts'
import { SESSION_COOKIES, SESSION_FIELDS } from './filters/sessions.ts'
import { tokenOf } from './filters/tokens.ts'

/** `body` undefined: none is announced. Texts are of latin1. */
export type Request = {
  readonly method: string
  readonly target: string
  readonly host: string
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body?: string
}

const ODD_SEGMENTS = ['.', '..', '', '%2e%2e', 'a%2Fb', 'a%5cb', '%2f', '%61', '%7Ea', '*', 'a|b']
function targetOf(dice: Dice): string {
  const path = dice.hits(0.7)
    ? pathOf(dice)
    : `/${dice.times(4, () => dice.one([...SEGMENTS, ...ODD_SEGMENTS])).join('/')}`
  const isSlashes = isOnlySlashes(path)
  const pair = (): string => `${dice.one(PARAMETERS)}${dice.hits(0.8) ? `=${dice.one(FIELD_VALUES)}` : ''}`
  const query = dice.hits(0.35) ? `?${dice.times(3, pair).join('&')}` : ''
  return `${isSlashes ? '/' : path}${!isSlashes && dice.hits(0.1) ? '/' : ''}${query}${dice.hits(0.01) ? '#f' : ''}`
}
/** Envoy's merge_slashes leaves a path of slashes only as it is. */
function isOnlySlashes(path: string): boolean {
  const readings = [path, path.replaceAll(/%2f|%5c/gi, '/')]
  return readings.some((one) => /^[/]+$/.test(new URL(`http://a${one}`).pathname))
}

const OWN_NAMES = FIELD_NAMES.filter((name) => name !== 'x-forwarded-proto')
function fieldsOf(dice: Dice): [string, string][] {
  // Envoy joins the values of fields that it knows.
  const own = dice
    .times(3, (): [string, string] => [dice.one(OWN_NAMES), dice.one(FIELD_VALUES)])
    .filter(([name], i, all) => !/^[ac]/.test(name) || all.findIndex(([other]) => other === name) === i)
  const maybe = (of: number, name: string, values: readonly string[]): [string, string][] =>
    dice.hits(of) ? [[name, dice.one(values)]] : []
  return [
    ...own,
    ...maybe(0.15, 'x-forwarded-for', ['9.9.9.9', '9.9.9.9, 10.0.0.1', '::1', 'odd']),
    ...maybe(0.1, 'x-forwarded-proto', ['https', 'http', 'HTTPS']),
    ...maybe(0.05, 'x_u', ['1']),
    ...maybe(0.1, 'x-b', CLUSTERS),
    ...maybe(0.05, 'via', ['1.1 other']),
    ...maybe(0.05, 'te', ['trailers', 'gzip', 'trailers, deflate']),
    ...maybe(0.05, 'connection', ['keep-alive', 'x-a', 'close']),
    ...maybe(0.05, 'x-request-id', ['7']),
    ...maybe(0.05, 'user-agent', ['u']),
    ...maybe(0.15, 'origin', ORIGINS),
    ...maybe(0.5, 'x-limit', LIMIT_WORDS),
    ...maybe(0.5, 'x-auth', AUTH_WORDS),
    ...maybe(0.1, 'access-control-request-method', ['GET', 'PUT']),
    ...maybe(0.3, 'accept-encoding', ENCODINGS),
    ...maybe(0.4, 'x-answer', ANSWER_WORDS),
    ...maybe(0.2, 'cookie', SESSION_COOKIES),
    ...maybe(0.2, 'x-session', SESSION_FIELDS),
    ...maybe(0.05, 'x-payload', ['forged']),
    ...maybe(0.05, 'x-claim', ['forged']),
    ...(dice.hits(0.4) ? [['x-do', outcomes(dice)] as [string, string]] : []),
  ]
}

function preflightFields(dice: Dice): [string, string][] {
  return [
    ['origin', dice.one(ORIGINS)],
    ['access-control-request-method', dice.one(['GET', 'PUT'])],
    ...(dice.hits(0.5) ? [['access-control-request-headers', 'x-a,x-z'] as [string, string]] : []),
    ...(dice.hits(0.5) ? [['access-control-request-private-network', 'true'] as [string, string]] : []),
  ]
}

/** Of the tries; those that no policy may repeat (docs/decisions/0006) are not asked for. */
function outcomes(dice: Dice): string {
  return [0, ...dice.times(3, () => 0)].map(() => dice.one(OUTCOMES)).join('.')
}

export function requestOf(dice: Dice): Request {
  const isPreflight = dice.hits(0.08)
  const method = isPreflight
    ? 'OPTIONS'
    : dice.one(['GET', 'GET', 'GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH'])
  const host = dice.one(HOSTS)
  const token = tokenOf(dice)
  const target = targetOf(dice)
  return {
    method,
    target: token?.query ? `${target.replace(/#.*/, '')}${target.includes('?') ? '&' : '?'}${token.query}` : target,
    host: `${host}${dice.hits(0.1) ? '.' : ''}${dice.hits(0.2) ? dice.one([':8080', ':80']) : ''}`,
    fields: [
      ...(isPreflight ? preflightFields(dice) : fieldsOf(dice)).filter(
        ([name]) => name !== 'x-do' || REPEATABLE.has(method),
      ),
      ...(token?.field ? [token.field] : []),
    ],
    ...((method === 'POST' || method === 'PUT' || dice.hits(0.05)) && { body: dice.one(['', 'x', 'hello']) }),
  }
}

const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])

export function bytesOf({ method, target, host, fields, body }: Request): string {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const length = body === undefined ? '' : `content-length: ${body.length}\r\n`
  return `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\n${lines}${length}\r\n${body ?? ''}`
}
