/** Names of fields over HTTP/1.1, as the listener's and the cluster's header_key_format say. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Finally } from '../../programs.ts'
import { clusterTo, httpTo, startBoth, type } from './both.ts'

const preserve = (more: JsonObject = {}): JsonObject => ({
  header_key_format: {
    stateful_formatter: {
      name: 'preserve_case',
      typed_config: {
        '@type': type('extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig'),
        ...more,
      },
    },
  },
})
const FORMATS: Readonly<Record<string, JsonObject>> = {
  none: {},
  proper: { header_key_format: { proper_case_words: {} } },
  kept: preserve(),
  'kept-proper': preserve({ formatter_type_on_envoy_headers: 'PROPER_CASE' }),
}
const REQUESTS: Readonly<Record<string, string>> = {
  get: 'GET /a HTTP/1.1\r\nHOST: a\r\nX-iD: 1\r\nx-Id: 2\r\nUser-AGENT: me\r\nACCEPT: */*\r\n\r\n',
  post: 'POST /a HTTP/1.1\r\nhost: a\r\nContent-LENGTH: 2\r\nx-b3-traceid: 3\r\n\r\nhi',
  chunked: 'POST /a HTTP/1.1\r\nhosT: a\r\nTransfer-ENCODING: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
  upgrade: 'GET /ws HTTP/1.1\r\nHost: a\r\nCONNECTION: Upgrade\r\nUPGRADE: websocket\r\nSec-WebSocket-KEY: k\r\n\r\n',
  local: 'GET /local HTTP/1.1\r\nHOST: a\r\n\r\n',
}
const ANSWER =
  'HTTP/1.1 200 OK\r\nX-FROM: b\r\nwww-Authenticate: c\r\nSET-cookie: d=e\r\nContent-LENGTH: 0\r\nX-From: f\r\n\r\n'
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nCONNECTION: upgrade\r\nUPGRADE: websocket\r\nX-FROM: b\r\n\r\n'

/** Names in order of their lower case, without those that only one of both sends. */
const namesOf = (head: string): string =>
  [...new Set([...head.matchAll(/\r\n([^\r\n:]+):/g)].map(([, name]) => name!))]
    .filter((name) => !/^(x-request-id|date|server|x-envoy-.*|x-meshlet.*|content-type|via)$/i.test(name))
    .sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : a.toLowerCase() > b.toLowerCase() ? 1 : a < b ? -1 : 1))
    .join(' ')

/** @returns names of the answer's head */
async function ask(port: number, request: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  try {
    socket.write(request)
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    while (!text.includes('\r\n\r\n')) await once(socket, 'data')
    return namesOf(text.slice(0, text.indexOf('\r\n\r\n') + 2))
  } finally {
    socket.destroy()
  }
}

/** An endpoint: names of the head that it got last. */
async function startEndpoint(t: Finally): Promise<{ readonly port: number; asked: () => string }> {
  let asked = ''
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (
        end < 0 ||
        (/ength: 2/i.test(text) && !text.endsWith('hi')) ||
        (/chunked/i.test(text) && !text.endsWith('0\r\n\r\n'))
      )
        return
      asked = namesOf(text.slice(0, end + 2))
      socket.write(text.startsWith('GET /ws') ? SWITCH : ANSWER)
      text = ''
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  return { port: (server.address() as AddressInfo).port, asked: () => asked }
}

/** By `listener-cluster`, of all pairs. */
function listenersOf(): Record<string, JsonObject> {
  const pairs = Object.keys(FORMATS).flatMap((listener) => Object.keys(FORMATS).map((to) => [listener, to] as const))
  return Object.fromEntries(
    pairs.map(([listener, to]) => [
      `${listener}-${to}`,
      {
        ...httpTo(to),
        http_protocol_options: FORMATS[listener]!,
        upgrade_configs: [{ upgrade_type: 'websocket' }],
        route_config: {
          name: 'r',
          virtual_hosts: [
            {
              name: 'v',
              domains: ['*'],
              routes: [
                { match: { prefix: '/local' }, direct_response: { status: 403 } },
                { match: { prefix: '/' }, route: { cluster: to } },
              ],
              response_headers_to_add: [{ header: { key: 'X-Added', value: 'g' } }],
              request_headers_to_add: [{ header: { key: 'X-Added', value: 'g' } }],
            },
          ],
        },
      },
    ]),
  )
}

test('names of fields are written as by Envoy', { timeout: 120_000 }, async (t) => {
  const { port, asked } = await startEndpoint(t)
  const clusters = Object.entries(FORMATS).map(([name, http_protocol_options]) =>
    clusterTo(name, [['127.0.0.1', port]], {
      typed_extension_protocol_options: {
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
          '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
          explicit_http_config: { http_protocol_options },
        },
      },
    }),
  )
  const ports = await startBoth(t, clusters, listenersOf())
  const wrong: string[] = []
  for (const [name, { ours, theirs }] of Object.entries(ports))
    for (const [kind, request] of Object.entries(REQUESTS)) {
      const their = [await ask(theirs, request), asked()]
      const own = [await ask(ours, request), asked()]
      if (name === 'kept-kept' && kind === 'get') {
        assert.match(own[0]!, /SET-cookie .*X-FROM/)
        assert.match(own[1]!, /ACCEPT HOST User-AGENT .*X-iD/)
      }
      for (const [i, what] of ['answer', 'request'].entries())
        if (own[i] !== their[i]) wrong.push(`${name} ${kind} ${what}:\n  ours   ${own[i]}\n  theirs ${their[i]}`)
    }
  assert.equal(wrong.join('\n'), '')
})
