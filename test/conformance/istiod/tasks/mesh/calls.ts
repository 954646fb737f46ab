/** Applications of the near machine: they look a name up at meshlet's DNS, and connect to the address. */
import { once } from 'node:events'
import dns from 'node:dns'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import type { Seen } from './apps.ts'

const CALL_MS = 5_000
const CLOSE_MS = 3_000
const DNS_PORT = 15_053

const resolver = new dns.promises.Resolver({ timeout: 2_000, tries: 1 })
resolver.setServers([`127.0.0.1:${DNS_PORT}`])

/** All IPv4 addresses; the reason in capitals when there are none. */
export function lookUp(name: string): Promise<readonly string[] | string> {
  return resolver.resolve4(name).catch((err: NodeJS.ErrnoException) => err.code ?? String(err))
}

async function addressOf(host: string): Promise<string> {
  if (net.isIP(host)) return host
  const found = await lookUp(host)
  if (typeof found === 'string') throw new Error(`${host}: ${found}`)
  return found[0]!
}

export type Called = {
  /** 0: no answer; `body` then has the reason. */
  readonly status: number
  readonly body: string
  readonly headers: http.IncomingHttpHeaders
  readonly ms: number
  /** Name of the application that answered, '' when none did. */
  readonly app: string
  readonly seen: Seen | undefined
}
export type CallOptions = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string
  /** To this address, whatever DNS says. */
  readonly to?: string
  /** Of an identity: how a socket is made. */
  readonly connect?: () => Promise<net.Socket>
  readonly localAddress?: string
}

/** One request over a connection of its own. Never rejects. */
export async function call(url: string, o: CallOptions = {}): Promise<Called> {
  const from = performance.now()
  const { hostname, port, pathname, search } = new URL(url)
  const failed = (err: unknown): Called => ({
    status: 0,
    body: String(err),
    headers: {},
    ms: performance.now() - from,
    app: '',
    seen: undefined,
  })
  try {
    const host = o.to ?? (await addressOf(hostname))
    const socket = await o.connect?.()
    const agent = new http.Agent({ keepAlive: false })
    if (socket) agent.createConnection = () => socket
    const req = http.request({
      agent,
      host,
      port: port === '' ? 80 : Number(port),
      method: o.method ?? 'GET',
      path: pathname + search,
      timeout: CALL_MS,
      headers: { host: port === '' ? hostname : `${hostname}:${port}`, ...o.headers } as http.OutgoingHttpHeaders,
      ...(o.localAddress === undefined ? {} : { localAddress: o.localAddress }),
    })
    req.on('timeout', () => req.destroy(new Error(`no answer in ${CALL_MS} ms`)))
    req.end(o.body)
    const [res] = (await once(req, 'response')) as [http.IncomingMessage]
    let body = ''
    for await (const piece of res) body += String(piece)
    const seen = parseSeen(body)
    return {
      status: res.statusCode ?? 0,
      body,
      headers: res.headers,
      ms: performance.now() - from,
      app: seen?.app ?? '',
      seen,
    }
  } catch (err) {
    return failed(err)
  }
}

function parseSeen(body: string): Seen | undefined {
  try {
    const value = JSON.parse(body) as Seen
    return typeof value.app === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/** What a TCP server answers to `text` ('': it speaks first) until it closes or a line is there; '' when it is refused. */
export async function talk(host: string, port: number, text: string): Promise<string> {
  return talkOver(net.connect({ host: await addressOf(host), port }), text)
}
export async function talkOver(socket: net.Socket, text: string): Promise<string> {
  let said = ''
  const done = new Promise<void>((resolve) => {
    socket
      .on('data', (bytes) => {
        said += String(bytes)
        if (said.includes('\n')) resolve()
      })
      .on('error', () => {
        resolve()
      })
      .on('close', () => {
        resolve()
      })
      .setTimeout(CALL_MS, resolve)
  })
  if (text !== '') socket.write(text)
  await done
  socket.destroy()
  return said
}

/** Whether a connection on which nothing is said is ended from the other side within some seconds. */
export async function waitForClose(host: string, port: number): Promise<boolean> {
  const socket = net.connect({ host: await addressOf(host), port })
  const closed = new Promise<boolean>((resolve) => {
    socket
      .on('error', () => {
        /* followed by close */
      })
      .on('end', () => {
        resolve(true)
      })
      .on('close', () => {
        resolve(true)
      })
      .setTimeout(CLOSE_MS, () => {
        resolve(false)
      })
      .resume()
  })
  const is = await closed
  socket.destroy()
  return is
}

export type GrpcAnswer = { readonly status: string; readonly app: string; readonly http: number }

/** A unary call with an empty message. status '': the connection failed. */
export async function callGrpc(
  host: string,
  port: number,
  method: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<GrpcAnswer> {
  const session = http2.connect(`http://${await addressOf(host)}:${port}`)
  session.on('error', () => {
    /* told by the stream */
  })
  session.setTimeout(CALL_MS, () => {
    session.destroy()
  })
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': method,
      ':authority': `${host}:${port}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
    let head: http2.IncomingHttpHeaders = {}
    let trailers: http2.IncomingHttpHeaders = {}
    stream.on('response', (h) => {
      head = h
    })
    stream.on('trailers', (h) => {
      trailers = h
    })
    stream.resume()
    stream.end(Buffer.alloc(5))
    await once(stream, 'close')
    const text = (value: string | readonly string[] | undefined): string => (value === undefined ? '' : String(value))
    return {
      status: text(trailers['grpc-status'] ?? head['grpc-status']),
      app: text(head['x-app']),
      http: Number(head[':status'] ?? 0),
    }
  } catch {
    return { status: '', app: '', http: 0 }
  } finally {
    session.destroy()
  }
}

/** A client that speaks TLS itself: the application and the name that it was asked for; '' without an answer. */
export async function callTls(host: string, port: number, servername: string): Promise<string> {
  const connect = async (): Promise<tls.TLSSocket> => {
    const socket = tls.connect({ host: await addressOf(host), port, servername, rejectUnauthorized: false })
    socket.setTimeout(CALL_MS, () => {
      socket.destroy(new Error(`no handshake in ${CALL_MS} ms`))
    })
    await once(socket, 'secureConnect')
    return socket
  }
  const { app, seen } = await call(`https://${servername}/`, { to: '127.0.0.1', connect })
  return app === '' ? '' : `${app} ${seen?.sni}`
}
