/**
 * One TLS connection to the hub's API, through an HTTP proxy where there is one. Nothing is sent before the hub is known
 * by its root: one that the device has, or one that a pin names. Dates go by the later of clock and floor, so that a
 * device that boots in 1970 gets in; what the hub's certificate was signed at says how late it is at least.
 */
import tls from 'node:tls'
import { MeshError } from '../../core/errors.ts'
import { hashPin } from '../../core/pki/pin.ts'
import { selectSentChain, verifyChain } from '../../core/pki/verify-chain.ts'
import { parseCertificates } from '../../core/pki/x509.ts'
import { ipBytes, type EnvironmentProxy } from '../../model/ip.ts'
import { explainNotNamed, isNamed } from '../connection/server-name.ts'
import type { CertificateClock } from '../connection/verify-server.ts'
import { openTcpPath, waitForEvent } from './tcp-path.ts'

export type HubTrust = { readonly rootsPem: string } | { readonly pins: readonly string[] }
export type HubTarget = {
  /** https://HOST[:PORT] */
  readonly url: URL
  readonly trust: HubTrust
  readonly certificateClock: CertificateClock
  readonly findProxy: (() => EnvironmentProxy | undefined) | undefined
}

/** Rejects with MESH_CONTROL_UNREACHABLE, MESH_CONTROL_TLS, MESH_CONTROL_NAME or the signal's reason. */
export async function connectToHub(hub: HubTarget, signal: AbortSignal): Promise<tls.TLSSocket> {
  const host = hub.url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(hub.url.port || 443)
  const failed = (cause: unknown): never => {
    throw signal.aborted ? signal.reason : toUnreachable(hub, cause)
  }
  const path = await openTcpPath({ host, port, proxy: hub.findProxy?.() }, signal).catch(failed)
  const socket = tls.connect({
    socket: path,
    // RFC 6066 §3: literal addresses are not permitted in server_name.
    ...(ipBytes(host) ? {} : { servername: host }),
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['http/1.1'],
    // Checked below, by another clock than the system's.
    rejectUnauthorized: false,
  })
  try {
    await waitForEvent(socket, 'secureConnect', signal).catch(failed)
    checkServer(socket, host, hub)
    return socket
  } catch (thrown) {
    socket.destroy()
    throw thrown
  }
}

function checkServer(socket: tls.TLSSocket, host: string, { trust, url, certificateClock }: HubTarget): void {
  const leaf = socket.getPeerX509Certificate()
  if (!leaf) throw new MeshError('MESH_CONTROL_TLS', `${url.host} shows no certificate`)
  const chain = selectSentChain(leaf)
  const roots =
    'rootsPem' in trust
      ? parseCertificates(trust.rootsPem)
      : chain.filter((c) => c.ca && trust.pins.includes(hashPin(c)))
  if (roots.length === 0)
    throw new MeshError(
      'MESH_CONTROL_TLS',
      `no certificate that ${url.host} shows has the pin that the token or --ca-pin names; it shows ${chain.map(hashPin).join(', ').slice(0, 500)}`,
    )
  const answer = verifyChain({
    chain,
    roots,
    crls: [],
    peer: 'server',
    nowMs: certificateClock.nowMs(),
    clock: 'lower-bound',
    graceMs: 0,
  })
  if (!answer.ok)
    throw new MeshError('MESH_CONTROL_TLS', `the certificate of ${url.host} is not trusted: ${answer.reason}`)
  if (!isNamed(leaf, [host])) throw new MeshError('MESH_CONTROL_NAME', explainNotNamed(leaf, [host]))
  certificateClock.seen(answer.notBeforeMs)
}

function toUnreachable({ url }: HubTarget, cause: unknown): MeshError {
  const { message } = cause as Error
  const code = /ssl|tls|alert/i.test(message) ? 'MESH_CONTROL_TLS' : 'MESH_CONTROL_UNREACHABLE'
  return new MeshError(code, `${url.host} is not reachable: ${message}`, { cause })
}
