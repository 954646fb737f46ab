/**
 * Handshakes with a key that both sides have, and no certificate (RFC 4279, RFC 5489): as small devices speak TLS.
 * Node has them in TLS 1.2 only.
 */
import { constants } from 'node:crypto'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import { doNothing, guard } from '../../core/defects/guard.ts'
import { runsOver } from '../../core/os/network.ts'
import type { PskSettings } from '../../model/tls.ts'
import type { DownstreamTlsFacts } from '../connection.ts'
import { chooseAlpn } from './alpn.ts'
import { type OriginateOptions, waitForHandshake } from './client.ts'

/** Forward secrecy first; mosquitto's clients and mbed TLS have one of them. */
const CIPHERS =
  'ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES128-GCM-SHA256:ECDHE-PSK-AES256-CBC-SHA384:ECDHE-PSK-AES128-CBC-SHA256:PSK-CHACHA20-POLY1305:PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:PSK-AES128-CBC-SHA256'

const servers = new WeakMap<PskSettings, tls.Server>()
const identities = new WeakMap<tls.TLSSocket, string>()

/** One for a listener's life. */
export function findPskServer(psk: PskSettings, alpnProtocols: readonly string[]): tls.Server {
  const known = servers.get(psk)
  if (known) return known
  const made = tls.createServer({
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    dhparam: 'auto',
    pskIdentityHint: psk.hint,
    // A resumed session would not say whose key it was made with.
    secureOptions: constants.SSL_OP_NO_TICKET,
    pskCallback(socket, identity) {
      try {
        const key = psk.find(identity)
        if (key) identities.set(socket, identity)
        return key ?? null
      } catch {
        return null
      }
    },
    ALPNCallback: ({ protocols }) => chooseAlpn([...alpnProtocols], protocols),
  })
  servers.set(psk, made)
  return made
}

/** Of a handshake that has succeeded: who has finished it has the key. */
export function describePsk(socket: tls.TLSSocket): DownstreamTlsFacts {
  const pskIdentity = identities.get(socket)
  return {
    serverName: socket.servername || '',
    alpn: socket.alpnProtocol || '',
    version: socket.getProtocol() ?? '',
    peer: undefined,
    ...(pskIdentity !== undefined && { pskIdentity }),
  }
}

export type OwnPsk = { readonly identity: string; readonly key: Uint8Array }

/**
 * As a client. A server that finishes the handshake has the key: no cipher is offered that a certificate would do for.
 * Rejects as waitForHandshake; `stream` is destroyed then.
 */
export async function originatePsk(
  stream: Duplex,
  { identity, key }: OwnPsk,
  o: Pick<OriginateOptions, 'clock' | 'timeoutMs' | 'signal'>,
): Promise<Duplex> {
  const socket = tls.connect({
    socket: stream,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    pskCallback: () => ({ identity, psk: key }),
    checkServerIdentity: () => undefined,
  })
  runsOver(socket, stream)
  // Its user sees the close; an error without any listener would end the process.
  socket.on('error', guard('tls', doNothing, doNothing))
  try {
    await waitForHandshake(socket, stream, o)
  } catch (thrown) {
    stream.destroy()
    throw thrown
  }
  return socket
}
