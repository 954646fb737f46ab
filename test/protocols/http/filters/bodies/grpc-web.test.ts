import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Base64Body, createGrpcWeb, GrpcWebAnswer } from '../../../../../protocols/http/filters/bodies/grpc-web.ts'
import type { Downstream, ResponseHead } from '../../../../../protocols/http/message.ts'

function decode(...chunks: string[]): { readonly text: string; readonly end: string } {
  let text = ''
  let end = ''
  const sink = {
    data: (chunk: Buffer) => {
      text += chunk.toString('latin1')
    },
    end: () => {
      end = 'end'
    },
  }
  const body = new Base64Body(sink, (error) => {
    end = error.code
  })
  for (const chunk of chunks) body.data(Buffer.from(chunk))
  body.end(undefined)
  return { text, end }
}
const b64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64')

test('text is decoded wherever it is cut', () => {
  const text = b64('a message of some length')
  for (let i = 0; i <= text.length; i++)
    for (let j = i; j <= text.length; j++)
      assert.deepEqual(decode(text.slice(0, i), text.slice(i, j), text.slice(j)), {
        text: 'a message of some length',
        end: 'end',
      })
})
test('more may follow what is padded', () =>
  assert.deepEqual(decode(b64('a') + b64('bc') + b64('def') + b64('g')), { text: 'abcdefg', end: 'end' }))
test('messages of a byte that come together go on together', () => {
  const told: string[] = []
  const body = new Base64Body({ data: (chunk) => told.push(chunk.toString()), end: () => {} }, () => {})
  body.data(Buffer.from(b64('a').repeat(1_000)))
  assert.deepEqual(told, ['a'.repeat(1_000)])
})
for (const bad of ['A', 'AAA', 'A$$A', 'AA A', '====', 'A===', 'AA=A', '=AAA', 'AAAA\n', '\u00e4AAA'])
  test(`${JSON.stringify(bad)} is refused`, () => {
    assert.equal(decode(bad).end, 'MESH_MALFORMED_INPUT')
    assert.equal(decode(...bad.split('')).end, 'MESH_MALFORMED_INPUT')
  })

test('only the four types are calls of gRPC-Web', () => {
  const of = (type: string): unknown => createGrpcWeb(['content-type', type])?.kind
  assert.equal(of('application/grpc-web'), 'grpc-web')
  for (const other of ['application/grpc', 'application/grpc-web+json', 'application/grpc-web; a=b', 'text/html'])
    assert.equal(of(other), undefined)
})

function answer(
  isText: boolean,
  head: Partial<ResponseHead>,
  chunks: readonly Buffer[],
  trailers?: string[],
): {
  readonly head: ResponseHead
  readonly body: string
} {
  let told: ResponseHead | undefined
  let body = ''
  const down = {
    sendHead: (one: ResponseHead) => {
      told = one
    },
    sendData: (chunk: Buffer) => {
      body += chunk.toString('latin1')
    },
    sendEnd: (t: unknown) => assert.equal(t, undefined),
  } as unknown as Downstream
  const web = new GrpcWebAnswer(down, isText)
  web.sendHead({ status: 200, headers: ['content-type', 'application/grpc'], contentLength: 9, ...head }, false)
  for (const chunk of chunks) web.sendData(chunk)
  web.sendEnd(trailers)
  return { head: told!, body }
}
const frame = (text: string): Buffer => Buffer.from(`\0\0\0\0${String.fromCharCode(text.length)}${text}`, 'latin1')
const TRAILERS = ['grpc-status', '0', 'grpc-message', 'fine']
const TRAILER_FRAME = '\x80\0\0\0\x22grpc-status:0\r\ngrpc-message:fine\r\n'

test('trailers are the last frame', () => {
  const { head, body } = answer(false, {}, [frame('hi')], TRAILERS)
  assert.deepEqual([head.headers, head.contentLength], [['content-type', 'application/grpc-web+proto'], -1])
  assert.equal(body, frame('hi').toString('latin1') + TRAILER_FRAME)
})
test('as text each message is by itself, wherever it is cut', () => {
  const all = Buffer.concat([frame('hi'), frame(''), frame('four'), frame('a longer one')])
  const want =
    ['hi', '', 'four', 'a longer one'].map((text) => frame(text).toString('base64')).join('') + b64(TRAILER_FRAME)
  for (let i = 0; i <= all.length; i++)
    assert.equal(answer(true, {}, [all.subarray(0, i), all.subarray(i)], TRAILERS).body, want)
  const single = Array.from(all, (byte) => Buffer.from([byte]))
  assert.equal(answer(true, {}, single, TRAILERS).body, want)
})
test('what is no gRPC becomes a message, and no more than so much of it', () => {
  const { head, body } = answer(false, { status: 503, headers: ['content-type', 'text/html'] }, [
    Buffer.alloc(20_000, 'x'),
    Buffer.from('y'),
  ])
  assert.equal(body, '')
  const field = (name: string): string | undefined => head.headers[head.headers.indexOf(name) + 1]
  assert.equal(field('grpc-message'), 'x'.repeat(16_384))
  assert.equal(field('grpc-status'), '14')
  assert.equal(head.contentLength, 0)
})
