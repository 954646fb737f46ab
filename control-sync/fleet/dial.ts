/** A TLS connection to the hub, directly or through an HTTP proxy, to a server that is who it should be. */
import net from 'node:net'
import tls from 'node:tls'
import { detach, doNothing, guard } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import { ipBytes, isDirect, type EnvironmentProxy } from '../../model/ip.ts'
import type { Identity } from '../../model/identity.ts'
import type { ControlPlane } from '../connection/control-plane.ts'
import { deriveNames } from '../connection/server-name.ts'
import { explainUntrusted, type CertificateClock } from '../connection/verify-server.ts'
import type { HubAddress } from './hub-address.ts'

export type DialOptions = {
  readonly control: ControlPlane
  readonly hub: HubAddress
  /** Shown to the hub. */
  readonly identity: Identity | undefined
  readonly certificateClock: CertificateClock
}

const DIAL_MS = 15_000
/** A proxy's answer to CONNECT. */
const MAX_ANSWER_BYTES = 16 * 1024

/** Rejects with MESH_CONTROL_UNREACHABLE, MESH_CONTROL_TIMEOUT, MESH_CONTROL_TLS or MESH_CONFIG_INVALID (roots). */
export async function dialHub(o: DialOptions): Promise<tls.TLSSocket> {
  const { hub, control } = o
  const proxy = control.findProxy?.()
  const isThrough = proxy !== undefined && !isDirect(proxy.noProxy, hub)
  const socket = net.connect({
    ...(isThrough ? proxy.address : { host: hub.host, port: hub.port }),
    noDelay: true,
    keepAlive: true,
    ...(control.names && !isThrough ? { lookup: lookupWith(control.names) } : {}),
  })
  const late = AbortSignal.timeout(DIAL_MS)
  late.addEventListener(
    'abort',
    guard('control', doNothing, () => {
      if (!isSecured)
        socket.destroy(new MeshError('MESH_CONTROL_TIMEOUT', `${hub.text} did not answer within ${DIAL_MS} ms`))
    }),
  )
  let isSecured = false
  try {
    await happens(socket, 'connect')
    if (isThrough) await passProxy(socket, proxy, hub)
    const secured = await secure(socket, o)
    isSecured = true
    return secured
  } catch (thrown) {
    socket.destroy()
    if (thrown instanceof MeshError) throw thrown
    const message = (thrown as Error).message
    throw new MeshError('MESH_CONTROL_UNREACHABLE', `${hub.text} cannot be reached: ${message}`, { cause: thrown })
  }
}

async function secure(socket: net.Socket, o: DialOptions): Promise<tls.TLSSocket> {
  const { control, identity, hub } = o
  const roots = control.roots().toString('utf8')
  const name = control.serverName ?? hub.host
  const secured = tls.connect({
    socket,
    ca: roots,
    ...(identity && { key: identity.keyPem, cert: identity.chainPem }),
    ...(ipBytes(name) ? {} : { servername: name }),
    // Who it is, is decided below, by a clock that may be another than the system's.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['http/1.1'],
  })
  try {
    await happens(secured, 'secureConnect')
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    throw new MeshError('MESH_CONTROL_TLS', `${hub.text}: ${(cause as Error).message}`, { cause })
  }
  const names = deriveNames(name, name === control.serverName)
  const why = explainUntrusted(secured, names, { roots, certificateClock: o.certificateClock })
  if (why === undefined) return secured
  secured.destroy()
  throw new MeshError('MESH_CONTROL_TLS', `${hub.text}: ${why}`)
}

/** RFC 9110 §9.3.6. */
async function passProxy(socket: net.Socket, proxy: EnvironmentProxy, { host, port }: HubAddress): Promise<void> {
  const to = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const credentials =
    proxy.credentials === undefined
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(proxy.credentials).toString('base64')}\r\n`
  socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n${credentials}\r\n`)
  let head = Buffer.alloc(0)
  while (!head.includes('\r\n\r\n')) {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      await happens(socket, 'readable')
      if (socket.readableEnded) throw new Error('the proxy closed the connection')
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length > MAX_ANSWER_BYTES) throw new Error('the answer of the proxy has no end')
  }
  const end = head.indexOf('\r\n\r\n') + 4
  if (end < head.length) socket.unshift(head.subarray(end))
  const [line = ''] = head.toString('latin1').split('\r\n')
  if (!/^HTTP\/1\.[01] 2\d\d\b/.test(line))
    throw new Error(`the proxy ${proxy.address.host}:${proxy.address.port} answered ${JSON.stringify(line)}`)
}

function lookupWith(names: NonNullable<ControlPlane['names']>): net.LookupFunction {
  return (host, { all }, done) => {
    detach(
      'control',
      names(host).then(
        guard('control', doNothing, (found) => {
          const addresses = found.map((address) => ({ address, family: ipBytes(address)?.length === 4 ? 4 : 6 }))
          if (all === true) done(null, addresses)
          else done(null, addresses[0]?.address ?? '', addresses[0]?.family ?? 4)
        }),
        guard('control', doNothing, (thrown: Error) => done(thrown, [])),
      ),
    )
  }
}

/** Rejects with the socket's error, or when it is closed. */
function happens(socket: net.Socket, event: 'connect' | 'secureConnect' | 'readable'): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const done = guard('control', reject, () => resolve())
  const failed = guard('control', doNothing, (err: Error) => reject(err))
  const closed = guard('control', doNothing, () => reject(new Error('the connection was closed')))
  socket.once(event, done).once('error', failed).once('close', closed)
  return promise.finally(() => {
    socket.off(event, done).off('error', failed).off('close', closed)
    socket.on('error', doNothing)
  })
}
