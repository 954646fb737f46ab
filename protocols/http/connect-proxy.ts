/**
 * Out through an HTTP proxy: CONNECT (RFC 9110 §9.3.6) on a connection to it, and what then lies behind it is the
 * endpoint, TLS and all. Who is in `noProxy` is connected to directly.
 */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { Address } from '../../core/os/network.ts'
import type { EnvironmentProxy } from '../../model/ip.ts'
import type { HttpProxy } from '../upstream-api.ts'

export function asHttpProxy({ address, credentials, noProxy }: EnvironmentProxy): HttpProxy {
  return { address, noProxy, readCredentials: credentials === undefined ? undefined : () => credentials }
}

const MAX_HEAD_BYTES = 16 * 1024
const HEAD_END = Buffer.from('\r\n\r\n')

/**
 * Resolves when the stream leads to the endpoint. What the endpoint has said already is there to be read.
 * @throws MESH_CONNECT_FAILED, or the signal's reason
 */
export async function openTunnel(
  stream: Duplex,
  { host, port }: Address,
  { proxy, signal }: { readonly proxy: HttpProxy; readonly signal: AbortSignal },
): Promise<void> {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const credentials = proxy.readCredentials?.()
  const authorization =
    credentials === undefined
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(credentials.trimEnd(), 'utf8').toString('base64')}\r\n`
  const answered = readHead(stream, signal)
  stream.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`)
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(await answered)?.[1]
  if (status?.startsWith('2')) return
  throw new MeshError(
    'MESH_CONNECT_FAILED',
    `the proxy ${proxy.address.host}:${proxy.address.port} does not connect to ${authority}: ${
      status === undefined ? 'it does not answer as HTTP does' : `status ${status}${HINTS[status] ?? ''}`
    }`,
  )
}
const HINTS: Readonly<Record<string, string>> = {
  '403': ', it does not permit this port or host',
  '407': ', it wants credentials (httpProxy.credentialsFile, HTTPS_PROXY) or others',
}

/** @returns the status line */
function readHead(stream: Duplex, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let got: Buffer = Buffer.alloc(0)
    const finish = (): void => {
      stream.removeListener('readable', onReadable).removeListener('end', onGone).removeListener('close', onGone)
      signal.removeEventListener('abort', onAbort)
    }
    const fail = (error: unknown): void => {
      finish()
      reject(error)
    }
    const onReadable = guard('upstream', fail, () => {
      for (let chunk = stream.read() as Buffer | null; chunk; chunk = stream.read() as Buffer | null)
        got = got.length === 0 ? chunk : Buffer.concat([got, chunk])
      const end = got.indexOf(HEAD_END)
      if (end < 0 && got.length <= MAX_HEAD_BYTES) return
      if (end < 0) {
        fail(new MeshError('MESH_CONNECT_FAILED', 'the proxy answers with an endless head'))
        return
      }
      finish()
      const rest = got.subarray(end + HEAD_END.length)
      if (rest.length > 0) stream.unshift(rest)
      resolve(got.toString('latin1', 0, got.indexOf('\r\n')))
    })
    const onGone = guard('upstream', fail, () =>
      fail(new MeshError('MESH_CONNECT_FAILED', 'the proxy closed the connection without an answer')),
    )
    const onAbort = guard('upstream', fail, () => fail(signal.reason))
    stream.on('readable', onReadable).once('end', onGone).once('close', onGone)
    signal.addEventListener('abort', onAbort, { once: true })
    onReadable()
  })
}
