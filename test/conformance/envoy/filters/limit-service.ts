/** A rate limit service that does what the path of a request says, and tells in each answer what it was asked. */
import { once } from 'node:events'
import http2 from 'node:http2'
import { fromJson, toBinary, type JsonObject } from '@bufbuild/protobuf'
import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { StructSchema } from '@bufbuild/protobuf/wkt'
import { readMessage, readText } from '../../../../protocols/protobuf/message.ts'
import { portOf } from '../../../helpers/raw-h2.ts'
import type { Finally } from '../../programs.ts'

/** What the service says of a request for those behind it. */
const FOUND: JsonObject = {
  text: 't',
  empty: '',
  number: 3,
  deep: { er: 'd' },
  limit: { requests_per_unit: 7, unit: 'HOUR' },
  odd: { requests_per_unit: 7.9, unit: 'YEAR' },
  unknown: { requests_per_unit: 7, unit: 'AGE' },
}

/** Whole descriptors, too: what else they say has to be the same. */
function readQuestion(bytes: Buffer): { domain: string; descriptors: string[][]; whole: string[] } {
  const fields = readMessage(bytes)!
  const descriptors = fields.filter(({ no }) => no === 2).map(({ bytes: one }) => one)
  return {
    domain: readText(fields, 1),
    descriptors: descriptors.map((one) =>
      readMessage(one)!
        .filter(({ no }) => no === 1)
        .map(({ bytes: entry }) => readMessage(entry)!)
        .map((entry) => `${readText(entry, 1)}=${readText(entry, 2)}`),
    ),
    whole: descriptors.map((one) => one.toString('hex')),
  }
}

const writer = (): BinaryWriter => new BinaryWriter()
const pair = (key: string, value: string): Uint8Array => writer().tag(1, 2).string(key).tag(2, 2).string(value).finish()
function status(
  limit: number,
  unit: number,
  left: number,
  { name = '', code = 1, sec = 17, nanos = 0 } = {},
): Uint8Array {
  const current = writer().tag(1, 0).uint32(limit).tag(2, 0).uint32(unit).tag(3, 2).string(name).finish()
  const reset = writer().tag(1, 0).uint32(sec).tag(2, 0).uint32(nanos).finish()
  return writer().tag(1, 0).uint32(code).tag(2, 2).bytes(current).tag(3, 0).uint32(left).tag(4, 2).bytes(reset).finish()
}
/** Of these descriptors too many have come. */
const over = (sec: number, nanos = 0): Uint8Array => status(10, 2, 0, { code: 2, sec, nanos })
const REFUSED: Readonly<Record<string, readonly Uint8Array[]>> = {
  '/refused': [over(17)],
  '/refused-several': [over(17), over(40), status(1, 1, 1, { sec: 90 }), over(30)],
  '/refused-soon': [over(0, 500_000_000)],
  '/refused-now': [over(0)],
  '/refused-later': [over(3, 1)],
  '/refused-told': [over(17)],
  '/refused-unsaid': [writer().tag(1, 0).uint32(2).finish()],
  '/refused-without': [writer().tag(1, 0).uint32(2).tag(4, 2).bytes(writer().tag(1, 0).uint32(5).finish()).finish()],
}
function answerTo(path: string, asked: string): Uint8Array {
  const isOver = /^\/(over|.*-over|body|typed|refused)/.test(path)
  const made = writer()
    .tag(1, 0)
    .uint32(isOver ? 2 : 1)
  made.tag(3, 2).bytes(pair('x-asked', asked))
  if (path.startsWith('/limits'))
    for (const one of [status(10, 2, 5), status(3, 1, 2, { name: 'few' }), status(100, 6, 90), status(9, 0, 9)])
      made.tag(2, 2).bytes(one)
  for (const one of REFUSED[path] ?? []) made.tag(2, 2).bytes(one)
  if (path === '/status') made.tag(2, 2).bytes(writer().tag(1, 0).uint32(1).finish())
  if (path.startsWith('/headers'))
    made
      .tag(3, 2)
      .bytes(pair('x-told', '100%'))
      .tag(3, 2)
      .bytes(pair('x-told', 'two'))
      .tag(4, 2)
      .bytes(pair('x-a', '2'))
      .tag(4, 2)
      .bytes(pair('x-new', 'n'))
  if (path === '/refused-told') made.tag(3, 2).bytes(pair('retry-after', '9'))
  if (path === '/typed') made.tag(3, 2).bytes(pair('content-type', 'application/json'))
  if (/^\/(body|typed)/.test(path)) made.tag(5, 2).bytes(Buffer.from('too much'))
  if (path === '/metadata') made.tag(6, 2).bytes(toBinary(StructSchema, fromJson(StructSchema, FOUND)))
  return made.finish()
}

/** What it does, the descriptor `path` says. @returns its port */
export async function startLimitService(t: Finally): Promise<number> {
  const server = http2.createServer()
  server.on('session', (session) => t.after(() => session.destroy()))
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      const question = readQuestion(Buffer.concat(chunks).subarray(5))
      const path =
        question.descriptors
          .flat()
          .find((entry) => entry.startsWith('path='))
          ?.slice(5) ?? '/ok'
      const how = [headers[':path'], headers[':authority'], headers['x-initial']]
      if (path === '/slow') return
      if (path === '/failed' || path === '/nothing') {
        const grpcStatus = path === '/failed' ? { 'grpc-status': '14' } : {}
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...grpcStatus }, { endStream: true })
        return
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      const message = answerTo(path, JSON.stringify([how, question]))
      const head = Buffer.alloc(5)
      head.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([head, message]))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  return portOf(server)
}
