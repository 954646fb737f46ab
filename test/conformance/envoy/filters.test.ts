/**
 * Envoy and meshlet with the same filters, asked the same over HTTP/1 and HTTP/2: the whole answer, and what reached the
 * endpoint, as far as each row looks.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type http from 'node:http'
import { freePorts } from '../../../tools/free-ports.ts'
import { askAt, Both } from '../../protocols/http/both.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { startStaticEnvoy } from './envoy.ts'
import { staticCluster } from '../package/shipped.ts'
import { readBody } from './generated/endpoint.ts'
import { answerAsAsked, BODIES } from './rows/bodies.ts'
import { factsOf, type FilterRow, type SeenAll } from './rows/filter-row.ts'
import { answerRedirects, INTERNAL_REDIRECTS } from './rows/internal-redirects.ts'
import { listenerOf, managerOf } from './rows/listener-of.ts'
import { LOCAL_REPLIES } from './rows/local-replies.ts'

const TABLES: Readonly<Record<string, { readonly rows: readonly FilterRow[]; readonly answer: http.RequestListener }>> =
  {
    local_reply_config: { rows: LOCAL_REPLIES, answer: (_, response) => response.end('hi') },
    internal_redirect_policy: { rows: INTERNAL_REDIRECTS, answer: answerRedirects },
    'buffer, compressor and grpc_web': { rows: BODIES, answer: answerAsAsked },
  }

for (const [name, { rows, answer }] of Object.entries(TABLES))
  test(`${name}: ${rows.length} rows over two versions of HTTP`, async (t) => {
    const seen: SeenAll[] = []
    const originPort = await serveHttp(t, (request, response) => {
      readBody(request, (body) => {
        seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
        answer(request, response)
      })
    })
    const ports = await freePorts(rows.length)
    const listeners = rows.map((row, i) => listenerOf(row, ports[i]!, { delayed_close_timeout: '0.02s' }))
    await startStaticEnvoy(t, { listeners, clusters: [staticCluster('origin', originPort)] }, ports.at(-1)!)
    for (const [i, row] of rows.entries()) {
      const both = await Both.start(t, managerOf(row), { answer })
      for (const codec of ['http1', 'http2'] as const) {
        if (row.only !== undefined && row.only !== codec) continue
        const ask = { authority: row.name, ...row.ask }
        const [before, beforeOurs] = [seen.length, both.seen.length]
        const theirs = factsOf(row, await askAt(ports[i]!, codec, ask), seen.slice(before))
        const ours = factsOf(row, await both.ask(codec, ask), both.seen.slice(beforeOurs))
        const { differs } = row
        const wanted = differs && (differs.codec ?? codec) === codec ? { ...theirs, ...differs.facts } : theirs
        await t.test(`${row.name} over ${codec}`, () => assert.deepEqual(ours, wanted))
      }
    }
  })
