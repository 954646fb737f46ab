/** Endpoints behind the proxies: one that says what it saw, one that fails as the request asks for. */
import type http from 'node:http'
import { serveHttp } from '../../../helpers/serve-http.ts'
import { ANSWER_WORDS } from './filters/compression.ts'
import type { Finally } from '../../programs.ts'

const ADDED = { 'r-a': '1', 'r-b': ['1', '2'], server: 'origin' }

/** The text is JSON, and the field `saw` the same escaped. */
export async function startOrigin(t: Finally): Promise<number> {
  return await serveHttp(t, (request, response) => {
    readBody(request, (body) => {
      tell(request, body, response)
    })
  })
}
export function readBody(request: http.IncomingMessage, then: (body: string) => void): void {
  let body = ''
  request.on('data', (bytes: Buffer) => {
    body += bytes.toString('latin1')
  })
  request.on('end', () => {
    then(body)
  })
}
/** What it says of its answer where `x-answer` asks for it. */
const SAID: Readonly<Record<(typeof ANSWER_WORDS)[number], http.OutgoingHttpHeaders>> = {
  html: {},
  upper: { 'content-type': 'TEXT/HTML;charset=utf8' },
  png: { 'content-type': 'image/png' },
  etag: { etag: '"strong"' },
  weak: { etag: 'W/"weak"' },
  encoded: { 'content-encoding': 'odd' },
  'no-transform': { 'cache-control': 'public, No-Transform' },
  vary: { vary: 'Cookie' },
}
function tell(
  { method, url, rawHeaders, headers }: http.IncomingMessage,
  body: string,
  response: http.ServerResponse,
): void {
  const told = JSON.stringify({ method, url, rawHeaders, body })
  const word = ANSWER_WORDS.find((one) => one === headers['x-answer'])
  const said = word && { 'content-type': 'text/html', ...SAID[word] }
  response.writeHead(200, { ...ADDED, ...said, 'content-length': Buffer.byteLength(told), saw: encodeURI(told) })
  response.end(told)
}

/** What one try meets: a status, or an end that is none. */
export const OUTCOMES = [
  'ok',
  '500',
  '502',
  '503',
  '504',
  '409',
  '429',
  'limited',
  'reset',
  'half',
  '302',
  '307',
] as const
export type Outcome = (typeof OUTCOMES)[number]
/** A request says in `x-do` what its tries meet, joined by a dot, the last one for all that follow; `x-key` names it. */
export type FlakyEndpoint = { readonly port: number; tries(key: string): number }

/** Connections are not used again: what a stale one is to a proxy is not asked here. */
export async function startFlaky(t: Finally): Promise<FlakyEndpoint> {
  const tries = new Map<string, number>()
  const port = await serveHttp(t, (request, response) => {
    const key = String(request.headers['x-key'])
    const outcomes = String(request.headers['x-do'] ?? 'ok').split('.') as Outcome[]
    const before = tries.get(key) ?? 0
    tries.set(key, before + 1)
    response.setHeader('connection', 'close')
    readBody(request, (body) => {
      meet(outcomes[Math.min(before, outcomes.length - 1)]!, request, body, response)
    })
  })
  return { port, tries: (key) => tries.get(key) ?? 0 }
}
function meet(outcome: Outcome, request: http.IncomingMessage, body: string, response: http.ServerResponse): void {
  switch (outcome) {
    case 'ok':
      tell(request, body, response)
      return
    case 'reset':
      request.socket.resetAndDestroy()
      return
    case 'half':
      response.writeHead(200, { 'content-length': '10' })
      response.write('half', () => request.socket.destroy())
      return
    case 'limited':
      response.writeHead(503, { 'x-envoy-ratelimited': 'true', 'content-length': '0' })
      response.end()
      return
    case '302':
    case '307':
      response.writeHead(Number(outcome), {
        location: 'http://b.test/api/v1?q=2',
        'r-a': 'moved',
        'content-length': '0',
      })
      response.end()
      return
    case '409':
    case '429':
    case '500':
    case '502':
    case '503':
    case '504':
      response.writeHead(Number(outcome), { 'content-length': '2' })
      response.end('no')
      return
    default:
      outcome satisfies never
  }
}
