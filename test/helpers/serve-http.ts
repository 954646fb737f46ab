/** An HTTP/1.1 server of a test's own on the loopback, gone with its connections when the test ends. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

/** @returns its port */
export async function serveHttp(
  t: { after(fn: () => void): void },
  answer: http.RequestListener,
  { host = '127.0.0.1', ...options }: http.ServerOptions & { readonly host?: string } = {},
): Promise<number> {
  const server = http.createServer(options, answer).listen(0, host)
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
