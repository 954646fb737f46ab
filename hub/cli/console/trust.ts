/** Which hub is meant, and by what it is known, where it is on another machine. */
import type { X509Certificate } from 'node:crypto'
import https from 'node:https'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { hashPin } from '../../../core/pki/pin.ts'
import { selectSentChain } from '../../../core/pki/verify-chain.ts'
import { parseCertificates } from '../../../core/pki/x509.ts'
import { isLoopback } from '../../../model/browser.ts'
import { ipBytes } from '../../../model/ip.ts'
import { findProxyFor, type ReadProxy } from './proxy.ts'

export type TrustOptions = { readonly caFile?: string; readonly caPin: readonly string[] }

const SHAKE_MS = 15_000
const MAX_SHOWN = 500

/** Throws MESH_CONFIG_INVALID: what goes to a hub must not be read on its way. */
export function parseHubUrl(text: string): URL {
  const url = URL.parse(text)
  const isBare =
    url !== null && /^\/?$/.test(url.pathname) && url.search === '' && url.hash === '' && url.username === ''
  if (!isBare || !/^https?:$/.test(url.protocol))
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `--hub ${JSON.stringify(text.slice(0, 200))} is no https://HOST or https://HOST:PORT`,
    )
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `--hub ${url.origin} is not encrypted; https:// is needed everywhere but on this machine itself`,
    )
  return url
}

/**
 * Certificates that the hub is known by; undefined: those of the system. Of a pin, the certificate that has it is asked
 * for once; nothing else is said on that connection, and the next ones are checked like any other.
 *
 * Rejects with MESH_CONFIG_INVALID, MESH_HUB_TLS, MESH_HUB_UNREACHABLE.
 */
export async function readRoots(
  url: URL,
  { caFile, caPin }: TrustOptions,
  p: { readonly clock: Clock; readonly readProxy?: ReadProxy | undefined },
): Promise<string | undefined> {
  if (caFile !== undefined && caPin.length > 0)
    throw new MeshError('MESH_CONFIG_INVALID', 'either --ca-file or --ca-pin says what the hub is known by')
  if (caFile !== undefined) return readFile(caFile)
  if (caPin.length === 0) return undefined
  for (const pin of caPin)
    if (!/^sha256:[0-9a-f]{64}$/.test(pin))
      throw new MeshError('MESH_CONFIG_INVALID', `--ca-pin ${JSON.stringify(pin.slice(0, 80))} is no sha256:HEX`)
  if (url.protocol !== 'https:')
    throw new MeshError('MESH_CONFIG_INVALID', `--ca-pin is for https, and --hub is ${url.origin}`)
  const chain = await fetchChain(url, p)
  const pinned = chain.filter((one) => one.ca && caPin.includes(hashPin(one)))
  if (pinned.length > 0) return pinned.map(String).join('')
  const shown = chain.map(hashPin).join(', ').slice(0, MAX_SHOWN)
  throw new MeshError('MESH_HUB_TLS', `no certificate that ${url.host} shows has the pin; it shows ${shown}`)
}

function readFile(file: string): string {
  try {
    const text = systemDisk.read(file)?.toString('utf8') ?? ''
    if (parseCertificates(text).length > 0) return text
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `--ca-file ${file} cannot be read`, { cause })
  }
  throw new MeshError('MESH_CONFIG_INVALID', `--ca-file ${file} has no certificate in PEM`)
}

/** The request is begun and never sent: its connection is all that is wanted of it. */
function fetchChain(
  url: URL,
  { clock, readProxy }: { readonly clock: Clock; readonly readProxy?: ReadProxy | undefined },
): Promise<readonly X509Certificate[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown): void =>
      reject(new MeshError('MESH_HUB_UNREACHABLE', `${url.origin} cannot be asked`, { cause }))
    const agent = new https.Agent(findProxyFor(url, readProxy))
    const request = https.request({
      agent,
      host,
      port: Number(url.port || 443),
      // RFC 6066 §3: literal addresses are not permitted in server_name.
      servername: ipBytes(host) ? '' : host,
      minVersion: 'TLSv1.2',
      // Only its certificates are read.
      rejectUnauthorized: false,
    })
    const late = clock.after(SHAKE_MS, () => request.destroy(new Error(`no TLS within ${SHAKE_MS} ms`)))
    const read = (socket: TLSSocket): void => {
      const leaf = socket.getPeerX509Certificate()
      resolve(leaf ? selectSentChain(leaf) : [])
      request.destroy()
    }
    request.on('error', guard('hub', failed, failed))
    request.on(
      'close',
      guard('hub', failed, () => {
        late.cancel()
        agent.destroy()
        failed(new Error('it has closed the connection'))
      }),
    )
    request.on(
      'socket',
      guard('hub', failed, (socket: Socket) => {
        if (!(socket instanceof TLSSocket)) throw new Error('the connection has no TLS')
        // Through a proxy it comes when the handshake is over.
        if (socket.getPeerX509Certificate()) read(socket)
        else
          socket.once(
            'secureConnect',
            guard('hub', failed, () => read(socket)),
          )
      }),
    )
  })
}
