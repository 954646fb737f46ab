/**
 * What stands beside the two nodes: an HTTP service each, and MQTT devices. Plain programs that know nothing of the
 * mesh.
 */
import http from 'node:http'
import type net from 'node:net'
import { once } from 'node:events'
import { connectAsync, type MqttClient } from 'mqtt'

export type Service = AsyncDisposable & {
  readonly port: number
  readonly seen: { requests: number; posts: Map<string, number>; callers: Set<string> }
}

/** Answers everything, counts POSTs by their `x-order` header and remembers who called. */
export async function startService(name: string): Promise<Service> {
  const seen = { requests: 0, posts: new Map<string, number>(), callers: new Set<string>() }
  const server = http.createServer((req, res) => {
    seen.requests++
    const order = req.headers['x-order']
    if (req.method === 'POST' && typeof order === 'string') seen.posts.set(order, (seen.posts.get(order) ?? 0) + 1)
    const xfcc = req.headers['x-forwarded-client-cert']
    if (typeof xfcc === 'string') seen.callers.add(/URI=([^;,]+)/.exec(xfcc)?.[1] ?? xfcc)
    req.resume()
    req.on('end', () => {
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify({ service: name, path: req.url }))
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

export type Reply = { readonly status: number; readonly body: string; readonly error: string | undefined }

/** An application at the site: asks for a mesh name through the agent's explicit proxy port. Keeps its connections. */
export class App implements Disposable {
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
  readonly #proxyPort: number
  constructor(proxyPort: number) {
    this.#proxyPort = proxyPort
  }

  /** Status 0 = no answer at all. */
  call(
    host: string,
    path: string,
    options: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<Reply> {
    return new Promise((resolve) => {
      const req = http.request(
        {
          agent: this.#agent,
          port: this.#proxyPort,
          host: '127.0.0.1',
          path: `http://${host}${path}`,
          method: options.method ?? 'GET',
          headers: { host, ...options.headers },
          timeout: 10_000,
        },
        (res) => {
          let body = ''
          res.on('data', (d: Buffer) => {
            body += d.toString()
          })
          res.on('end', () =>
            resolve({ status: res.statusCode ?? 0, body, error: res.headers['x-meshlet-error'] as string | undefined }),
          )
          res.on('error', () => resolve({ status: 0, body, error: 'connection lost' }))
        },
      )
      req.on('timeout', () => req.destroy(new Error('timeout')))
      req.on('error', (err) => resolve({ status: 0, body: '', error: err.message }))
      req.end(options.body)
    })
  }
  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}

export async function startDevice(
  port: number,
  clientId: string,
  options: { clean?: boolean } = {},
): Promise<MqttClient> {
  return connectAsync({
    host: '127.0.0.1',
    port,
    clientId,
    protocolVersion: 5,
    clean: options.clean ?? true,
    reconnectPeriod: 200,
    ...(options.clean === false ? { properties: { sessionExpiryInterval: 3600 } } : {}),
  })
}
