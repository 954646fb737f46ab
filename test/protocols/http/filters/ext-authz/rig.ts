/** A listener that asks an authorization service of the test's own. */
import type { TestContext } from 'node:test'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AuthService, ExtAuthz } from '../../../../../model/http/ext-authz.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../../../model/listener.ts'
import type { Route } from '../../../../../model/route.ts'
import { portOf } from '../../../../helpers/raw-h2.ts'
import { Both } from '../../both.ts'
import { cluster, endpoint, forwardTo, manager, route } from '../../harness.ts'

export type Asked = {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}
export const SETTINGS: Omit<ExtAuthz, 'service'> = {
  failureAllows: false,
  failureIsTold: false,
  statusOnError: 403,
  body: undefined,
  reroutes: false,
  enabledBy: undefined,
  enabledFraction: 1,
  deniesOthers: false,
  allowed: undefined,
  disallowed: [],
  metadata: [],
  sendsServerName: false,
  validates: false,
}
export const HTTP: Extract<AuthService, { kind: 'http' }> = {
  kind: 'http',
  cluster: 'auth',
  authority: 'auth.test',
  timeoutMs: 5_000,
  headers: [],
  pathPrefix: '',
  path: undefined,
  upstream: [],
  upstreamAppended: [],
  client: undefined,
  clientOnSuccess: [],
  metadata: [],
}
const GRPC: AuthService = { kind: 'grpc', cluster: 'auth', authority: 'auth.test', timeoutMs: 5_000, headers: [] }

export type RigOptions = {
  readonly service?: Partial<Extract<AuthService, { kind: 'http' }>>
  readonly settings?: Partial<ExtAuthz>
  /** Before the one that asks. */
  readonly filters?: readonly HttpFilter[]
  readonly route?: Partial<Route>
  readonly protocol?: 'http1' | 'http2'
  readonly http?: Partial<HttpConnectionManager>
  readonly originPort?: number
}

export class AuthRig {
  readonly asked: Asked[] = []
  readonly both: Both
  private constructor(both: Both, asked: Asked[]) {
    this.both = both
    this.asked = asked
  }

  static async overHttp(t: TestContext, answer: http.RequestListener, o: RigOptions = {}): Promise<AuthRig> {
    const asked: Asked[] = []
    const server = http.createServer((request, response) => {
      void collect(request, (body) => {
        asked.push({ method: request.method!, path: request.url!, headers: request.headers, body })
        answer(request, response)
      })
    })
    return AuthRig.#start(t, server, asked, { ...SETTINGS, service: { ...HTTP, ...o.service }, ...o.settings }, o)
  }
  /** @param answer makes the CheckResponse */
  static async overGrpc(t: TestContext, answer: (asked: Asked) => Buffer, o: RigOptions = {}): Promise<AuthRig> {
    const asked: Asked[] = []
    const server = http2.createServer((request, response) => {
      void collect(request, (body) => {
        const one = { method: request.method, path: request.url, headers: request.headers, body }
        asked.push(one)
        const message = answer(one)
        const frame = Buffer.alloc(5)
        frame.writeUInt32BE(message.length, 1)
        response.writeHead(200, { 'content-type': 'application/grpc' })
        response.write(Buffer.concat([frame, message]))
        response.addTrailers({ 'grpc-status': '0' })
        response.end()
      })
    })
    return AuthRig.#start(t, server, asked, { ...SETTINGS, service: GRPC, ...o.settings }, { protocol: 'http2', ...o })
  }
  static async #start(
    t: TestContext,
    server: http.Server | http2.Http2Server,
    asked: Asked[],
    authz: ExtAuthz,
    o: RigOptions,
  ): Promise<AuthRig> {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const protocol = o.protocol ?? 'http1'
    const clusters = [cluster([endpoint('127.0.0.1', portOf(server as http.Server))], { name: 'auth', protocol })]
    const filters: HttpFilter[] = [...(o.filters ?? []), { kind: 'ext-authz', name: 'authz', authz }]
    const both = await Both.start(t, manager([route(forwardTo(), o.route)], { filters, ...o.http }), {
      clusters,
      ...(o.originPort !== undefined && { originPort: o.originPort }),
    })
    t.after(() => {
      if ('closeAllConnections' in server) server.closeAllConnections()
      server.close()
    })
    return new AuthRig(both, asked)
  }
}

async function collect(stream: AsyncIterable<Buffer>, then: (body: Buffer) => void): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  then(Buffer.concat(chunks))
}
