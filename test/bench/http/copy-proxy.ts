/**
 * The floor for any proxy on Node: bytes are copied, nothing is read. One connection to the origin for each client's,
 * TLS as the case says. Run: node test/bench/http/copy-proxy.ts
 * '{"port":…,"originPort":…,"tls":{"cert","key","roots","originName"}}' (files; `tls` left out = plain)
 */
import fs from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'

type Setting = {
  readonly port: number
  readonly originPort: number
  readonly tls?: { readonly cert: string; readonly key: string; readonly roots: string; readonly originName: string }
}
const { port, originPort, tls: files } = JSON.parse(process.argv[2] ?? '') as Setting
const material = files && {
  cert: fs.readFileSync(files.cert),
  key: fs.readFileSync(files.key),
  ca: fs.readFileSync(files.roots),
}

function copy(client: net.Socket): void {
  const to = { host: '127.0.0.1', port: originPort, noDelay: true }
  const origin = material
    ? tls.connect({ ...to, ...material, servername: files.originName, checkServerIdentity: () => undefined })
    : net.connect(to)
  for (const [from, into] of [
    [client, origin],
    [origin, client],
  ] as const) {
    from
      .on('data', (chunk: Buffer) => {
        into.write(chunk)
      })
      .on('error', () => {
        /* close follows */
      })
      .on('close', () => {
        into.destroy()
      })
  }
}

const server = material
  ? tls.createServer({ ...material, requestCert: true, rejectUnauthorized: true }, copy)
  : net.createServer({ noDelay: true }, copy)
server.listen({ host: '127.0.0.1', port, backlog: 1024 })
