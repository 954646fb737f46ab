/**
 * While a compressor makes the answer of ours that ends a request, in a thread, nobody else answers it: not the endpoint,
 * not another attempt.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import type { HttpFilter } from '../../../../../model/listener.ts'
import type { RetryPolicy } from '../../../../../model/route.ts'
import { forwardTo, Harness, manager, OK, route, type Client } from '../../harness.ts'
import { settle } from '../../../../helpers/sim-clock.ts'
import { compressorOf, GZIP } from './compressors.ts'

const ANY = compressorOf(GZIP)
const COMPRESSOR: HttpFilter = {
  kind: 'compressor',
  name: 'c',
  compressor: { ...ANY, response: { ...ANY.response, minBytes: 1, types: new Set(['text/plain']) } },
}
const RETRY: RetryPolicy = {
  on: new Set(['5xx']),
  maxRetries: 2,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 100, capMs: 100 },
  avoidPreviousHosts: false,
  maxHostPicks: 3,
}
const HEAD = 'PUT / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n'
const HALF = `${HEAD}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n`
const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi'

/** What the endpoint does at the same time. */
const MEANWHILE: Readonly<Record<string, (endpoint: Duplex) => void>> = {
  answers: (s) => s.write(ANSWER),
  'answers, and more': (s) => s.write(OK + ANSWER),
  'informs and answers': (s) => s.write(`HTTP/1.1 103 Early Hints\r\n\r\n${ANSWER}`),
  'answers 503': (s) => s.write('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n'),
  resets: (s) => s.destroy(),
  ends: (s) => s.end(),
}

for (const [meanwhile, happens] of Object.entries(MEANWHILE))
  test(`one answer: a body is malformed, and the endpoint ${meanwhile}`, async () => {
    await using h = new Harness()
    const origin = await h.origin()
    const http = manager([route(forwardTo({ retry: RETRY }))], { filters: [COMPRESSOR] })
    const client = h.connect(http)
    await client.send(HALF)
    client.stream.write('zz\r\n')
    happens(origin.last.stream)
    await untilAnswered(client)
    await h.clock.advance(1_000)
    assert.deepEqual(client.received.match(/HTTP\/1\.1 \d+/g)?.filter((line) => !line.endsWith('103')).length, 1)
    assert.equal(origin.connections.length, 1)
  })

/** The last chunk. zlib needs turns of the loop that nobody can count. */
async function untilAnswered(client: Client): Promise<void> {
  for (let i = 0; i < 2_000 && !client.received.endsWith('\r\n0\r\n\r\n') && !client.closed; i++) await settle()
  await settle()
}
