/**
 * Heads and trailers leave through one function per codec and direction, which knows what the protocol permits; nobody
 * goes around it.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'

/** A call that puts a head or trailers on the wire → who may make it. */
const CALLS: readonly { readonly call: RegExp; readonly in: readonly string[] }[] = [
  { call: /\.(?:respond|respondWithFD|respondWithFile|additionalHeaders|sendTrailers|pushStream)\(/, in: [] },
  // The probe's request is made of constants.
  { call: /\bsession\.open\(/, in: ['protocols/upstream/h2-call.ts', 'agent/workload-health/grpc.ts'] },
  // Into an Http2Stream goes only what h2/outgoing-fields.ts has made.
  {
    call: /[sS]tream[!?]?\.send(?:Head|Informational)\((?!(?:toResponseFields|toRequestFields|toInformationalFields)\()/,
    in: [],
  },
  { call: /[sS]tream[!?]?\.sendEnd\((?!\)|toTrailerFields\()/, in: [] },
  { call: /\bformatRequestHead\(/, in: ['protocols/http/codec/h1-write.ts', 'protocols/upstream/h1-client.ts'] },
  { call: /\bformatResponseHead\(/, in: ['protocols/http/codec/h1-write.ts', 'protocols/http/server/h1-answer.ts'] },
  { call: /\bformatFieldLines\(/, in: ['protocols/http/codec/h1-write.ts'] },
  // Framing is derived, and in one place.
  { call: /(?:content-length|transfer-encoding): /, in: ['protocols/http/codec/framing.ts'] },
]

function around(file: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/[^\n]*/g, '$1')
  return CALLS.filter(({ call, in: places }) => call.test(code) && !places.includes(file)).map(
    ({ call }) => `${file}: ${String(call)}`,
  )
}

test('the rule catches who goes around', () => {
  assert.equal(around('protocols/http/exchange/exchange.ts', 'stream.respond([])').length, 1)
  assert.equal(around('protocols/http/exchange/tunnel.ts', 'out.text(`content-length: ${n}\\r\\n`)').length, 1)
  assert.equal(around('protocols/http/server/h2-exchange.ts', 'this.#stream.sendHead(fields, true)').length, 1)
  assert.equal(around('protocols/http/server/h2-exchange.ts', 'stream.sendEnd(trailers)').length, 1)
  assert.deepEqual(
    around(
      'protocols/http/server/h2-exchange.ts',
      'stream.sendHead(toResponseFields(head), false); stream.sendEnd(); this.#down.sendHead(head)',
    ),
    [],
  )
  assert.deepEqual(around('protocols/http/exchange/exchange.ts', '// stream.respond(head) says so\nthis.respond'), [])
})

test('nobody goes around the functions for heads and trailers', () => {
  assert.deepEqual(
    ['protocols/**/*.ts', 'agent/workload-health/**/*.ts']
      .flatMap((where) => fs.globSync(where))
      .flatMap((file) => around(file, fs.readFileSync(file, 'utf8'))),
    [],
  )
})
