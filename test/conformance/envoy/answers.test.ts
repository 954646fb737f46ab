/**
 * Envoy and meshlet with the same listeners, asked the same over HTTP/1 and HTTP/2: who is refused, what the endpoint
 * gets, and in which words time ends an exchange.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import { freePorts } from '../../../tools/free-ports.ts'
import { askAt, Both, type Seen, type Told } from '../../protocols/http/both.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { ROWS } from './answer-rows.ts'
import { startStaticEnvoy } from './envoy.ts'
import { listenerOf, managerOf } from './rows/listener-of.ts'
import { staticCluster } from '../package/shipped.ts'

/** What is compared: text of local answers is each one's own. */
const facts = ({ status, headers }: Omit<Told, 'saw'>, saw: Seen | undefined): unknown => ({
  status,
  grpc: headers['grpc-status'],
  location: headers['location'],
  r: headers['r'],
  saw: seenBy(saw),
})
const seenBy = (seen: Seen | undefined): unknown =>
  seen && {
    method: seen.method,
    url: seen.url,
    host: seen.headers.host,
    fields: Object.keys(seen.headers).filter((name) => name === 'x_y' || name === 'x-z'),
    x: seen.headers['x'],
    port: seen.headers['x-forwarded-port'] === undefined ? undefined : seen.headers['x-forwarded-port'] === '99',
  }

test('the same requests, the same answers', async (t) => {
  const seen: Seen[] = []
  const answer: http.RequestListener = (request, response) => {
    if (request.url !== '/hang') response.end('hi')
  }
  const originPort = await serveHttp(t, (request, response) => {
    seen.push({ method: request.method!, url: request.url!, headers: request.headers, body: '' })
    answer(request, response)
  })
  const ports = await freePorts(ROWS.length)
  const listeners = ROWS.map((row, i) => listenerOf(row, ports[i]!, { delayed_close_timeout: '0.02s' }))
  await startStaticEnvoy(t, { listeners, clusters: [staticCluster('origin', originPort)] }, ports.at(-1)!)
  for (const [i, row] of ROWS.entries()) {
    const both = await Both.start(t, managerOf(row), { answer })
    for (const codec of ['http1', 'http2'] as const) {
      if (row.only !== undefined && row.only !== codec) continue
      const ask = { authority: row.name, ...row.ask }
      const before = seen.length
      const theirs = await askAt(ports[i]!, codec, ask)
      const ours = await both.ask(codec, ask)
      assert.deepEqual(facts(ours, ours.saw), facts(theirs, seen[before]), `${row.name} over ${codec}`)
    }
  }
})
