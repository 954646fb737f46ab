/** Endpoints that answer with whatever bytes a test wants, and remember every byte that came. */
import { once } from 'node:events'
import net from 'node:net'
import { headers, frame, portOf, type Fields } from './raw-h2.ts'

export type OddAnswer = {
  readonly informational?: readonly { readonly status: number; readonly fields?: Fields }[]
  readonly status: number
  readonly fields?: Fields
  readonly body?: string
  readonly trailers?: Fields
  /** HTTP/2: the head does not end the stream although there is no body. */
  readonly lateEnd?: true
}

export type RawOrigin = Disposable & {
  readonly port: number
  /** Per connection. */
  readonly received: string[]
  /** To what; HTTP/1.1: given the request's bytes, HTTP/2: nothing. */
  answer: OddAnswer | ((request: string) => OddAnswer)
}

const lines = (fields: Fields = []): string => fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')

/** The bytes of an HTTP/1.1 answer: chunked where there are trailers. @param method of the request */
function http1Answer({ informational = [], status, fields, body = '', trailers }: OddAnswer, method: string): string {
  const early = informational.map((one) => `HTTP/1.1 ${one.status} x\r\n${lines(one.fields)}\r\n`).join('')
  const framed = trailers
    ? `transfer-encoding: chunked\r\n\r\n${body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n${lines(trailers)}\r\n`
    : `content-length: ${body.length}\r\n\r\n${body}`
  const bodiless = method === 'HEAD' || status === 204 || status === 304
  return `${early}HTTP/1.1 ${status} x\r\n${lines(fields)}${bodiless ? `content-length: ${body.length}\r\n\r\n` : framed}`
}

async function listening(
  accept: (socket: net.Socket, connection: number) => void,
  received: string[],
  answer: RawOrigin['answer'],
): Promise<RawOrigin> {
  const open = new Set<net.Socket>()
  const server = net
    .createServer((socket) => {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
      })
      accept(socket, received.push('') - 1)
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: portOf(server),
    received,
    answer,
    [Symbol.dispose]() {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}

function answerTo({ answer }: RawOrigin, request: string): OddAnswer {
  return typeof answer === 'function' ? answer(request) : answer
}

/** Answers whatever has a head and as much body as it says, in length or chunks. */
export async function http1Origin(): Promise<RawOrigin> {
  const received: string[] = []
  const origin = await listening(
    (socket, connection) => {
      let text = ''
      socket.on('data', (chunk) => {
        const bytes = chunk.toString('latin1')
        received[connection] += bytes
        text += bytes
        for (let end = endOf(text); end !== undefined; end = endOf(text)) {
          socket.write(http1Answer(answerTo(origin, text.slice(0, end)), text.slice(0, text.indexOf(' '))), 'latin1')
          text = text.slice(end)
        }
      })
    },
    received,
    { status: 200, body: 'hi' },
  )
  return origin
}

/** Of the first request; undefined = not yet there. As a simple server reads: length or chunks, and nothing else. */
export function endOf(text: string): number | undefined {
  const head = text.indexOf('\r\n\r\n')
  if (head < 0) return undefined
  const fields = text.slice(0, head).toLowerCase()
  const length = /\r\ncontent-length: *(\d+)/.exec(fields)?.[1]
  if (length !== undefined) return text.length >= head + 4 + Number(length) ? head + 4 + Number(length) : undefined
  if (!/\r\ntransfer-encoding: *chunked/.test(fields)) return head + 4
  for (let at = head + 4; ;) {
    const line = text.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = parseInt(text.slice(at, line), 16)
    if (size > 0) {
      at = line + 2 + size + 2
      continue
    }
    for (let field = line + 2; ;) {
      const next = text.indexOf('\r\n', field)
      if (next < 0) return undefined
      if (next === field) return next + 2
      field = next + 2
    }
  }
}

const SETTINGS = 4
const PING = 6
export async function http2Origin(): Promise<RawOrigin> {
  const received: string[] = []
  const origin = await listening(
    (socket, connection) => {
      let rest = Buffer.alloc(0)
      let inPreface = true
      socket.write(frame(SETTINGS, 0, 0, Buffer.alloc(0)))
      socket.on('data', (chunk: Buffer) => {
        received[connection] += chunk.toString('latin1')
        rest = Buffer.concat([rest, chunk])
        if (inPreface) {
          if (rest.length < 24) return
          rest = rest.subarray(24)
          inPreface = false
        }
        for (
          let size: number;
          rest.length >= 9 && rest.length >= (size = 9 + rest.readUIntBE(0, 3));
          rest = rest.subarray(size)
        ) {
          const [type, flags, stream] = [rest[3]!, rest[4]!, rest.readUInt32BE(5)]
          if (type === SETTINGS && (flags & 1) === 0) socket.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)))
          if (type === PING && (flags & 1) === 0) socket.write(frame(PING, 1, 0, rest.subarray(9, size)))
          if (type <= 1 && (flags & 1) === 1) socket.write(http2Answer(answerTo(origin, ''), stream))
        }
      })
    },
    received,
    { status: 200, body: 'hi' },
  )
  return origin
}

function http2Answer(
  { informational = [], status, fields = [], body = '', trailers, lateEnd }: OddAnswer,
  stream: number,
): Buffer {
  const early = informational.map((one) =>
    headers(stream, [[':status', String(one.status)], ...(one.fields ?? [])], false),
  )
  const end = body === '' && !trailers && !lateEnd
  const data = body === '' && !lateEnd ? [] : [frame(0, trailers ? 0 : 1, stream, Buffer.from(body, 'latin1'))]
  return Buffer.concat([
    ...early,
    headers(stream, [[':status', String(status)], ...fields], end),
    ...data,
    ...(trailers ? [headers(stream, trailers, true)] : []),
  ])
}
