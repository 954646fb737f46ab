/** One document over HTTPS, whole: an issuer's keys. From the server that the name and this machine's authorities prove. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { doNothing, guard } from '../../core/defects/guard.ts'
import type { NamedFiles } from '../../core/os/named-files.ts'
import type { Network } from '../../core/os/network.ts'
import { type EnvironmentProxy, isDirect } from '../../model/ip.ts'
import type { UpstreamTls } from '../../model/tls.ts'
import { asHttpProxy, openTunnel } from '../http/connect-proxy.ts'
import type { Arrival } from './arrivals.ts'
import { H1Parser } from '../http/codec/h1-parser.ts'
import { originate } from '../tls/client.ts'
import { withFiles } from '../tls/with-files.ts'

export type FetchOptions = {
  readonly network: Network
  readonly clock: Clock
  /** Where this machine's authorities are. */
  readonly files: NamedFiles | undefined
  /** Of the environment. Throws what is wrong with it. */
  readonly findProxy?: (() => EnvironmentProxy | undefined) | undefined
  readonly maxBytes: number
  readonly timeoutMs: number
  readonly arrival: Arrival
}

const HEAD_LIMITS = { maxHeaderBytes: 32 * 1024, maxHeaderCount: 100 }

/** Redirects are not followed. Rejects with what went wrong, at most after `timeoutMs`. */
export async function readOverHttps(url: URL, o: FetchOptions): Promise<string> {
  const late = new AbortController()
  const { signal } = o.arrival
  signal.addEventListener(
    'abort',
    guard('network', doNothing, () => late.abort(signal.reason)),
    { once: true },
  )
  const timer = o.clock.after(o.timeoutMs, () =>
    late.abort(new MeshError('MESH_UPSTREAM_TIMEOUT', `no answer within ${o.timeoutMs} ms`)),
  )
  try {
    return await get(url, o, late.signal)
  } finally {
    timer.cancel()
  }
}

async function get(url: URL, o: FetchOptions, signal: AbortSignal): Promise<string> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const raw = await connect({ host, port: Number(url.port || 443) }, o, signal)
  const { stream } = await originate(raw, {
    tls: withFiles(SETTINGS, o.files),
    identity: undefined,
    mustBe: { name: host, instead: true },
    alpn: ['http/1.1'],
    serverName: host,
    clock: o.clock,
    timeoutMs: o.timeoutMs,
    signal,
  })
  try {
    const body = read(stream, o, signal)
    stream.write(
      `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\naccept: application/jwk-set+json, application/json\r\nuser-agent: meshlet\r\nconnection: close\r\n\r\n`,
      'latin1',
    )
    return await body
  } finally {
    stream.destroy()
    raw.destroy()
  }
}

async function connect(
  to: { readonly host: string; readonly port: number },
  { network, findProxy }: FetchOptions,
  signal: AbortSignal,
): Promise<Duplex> {
  const found = findProxy?.()
  const proxy = found && !isDirect(found.noProxy, to) ? asHttpProxy(found) : undefined
  const { stream } = await network.dial(proxy?.address ?? to, signal)
  try {
    if (proxy) await openTunnel(stream.on('error', doNothing), to, { proxy, signal })
    return stream
  } catch (thrown) {
    stream.destroy()
    throw thrown
  }
}

const SETTINGS: UpstreamTls = {
  certificate: undefined,
  validation: { roots: { from: 'system' }, sans: [] },
  alpnProtocols: ['http/1.1'],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  sni: '',
  autoSni: false,
}

function read(stream: Duplex, { maxBytes, arrival }: FetchOptions, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const parser: H1Parser = new H1Parser('response', HEAD_LIMITS, {
      onHead() {
        if (parser.status !== 200) throw new MeshError('MESH_UPSTREAM_PROTOCOL', `the status is ${parser.status}`)
      },
      onInformational: () => undefined,
      onBody(chunk) {
        bytes += chunk.length
        if (bytes > maxBytes)
          throw new MeshError('MESH_UPSTREAM_PROTOCOL', `the document is larger than ${maxBytes} bytes`)
        chunks.push(Buffer.from(chunk))
        arrival.set(bytes)
      },
      onMessageEnd: () => resolve(Buffer.concat(chunks).toString('utf8')),
    })
    parser.begin('GET')
    const heard = guard('network', reject, (chunk: Buffer) => {
      try {
        parser.execute(chunk)
      } catch (err) {
        reject(err)
      }
    })
    const over = guard('network', reject, () => {
      try {
        parser.finish()
      } catch (err) {
        reject(err)
      }
      reject(new MeshError('MESH_UPSTREAM_RESET', 'the server closed before the document was whole'))
    })
    stream.on('data', heard)
    stream.on('end', over)
    stream.on('close', over)
    stream.on('error', over)
    signal.addEventListener(
      'abort',
      guard('network', reject, () => reject(signal.reason as Error)),
      { once: true },
    )
  })
}
