/**
 * The control plane's certificate by a time that may be another than the system clock's. Node goes by the system's
 * clock alone, and a device that boots in 1970 would never reach what could tell it the time; so the handshake is
 * OpenSSL's and the verdict ours. grpc-js makes its TLS connections in a connector that the credentials give it
 * (`_createSecureConnector`, 1.13 and later); what it makes is looked at before a byte goes out.
 */
import type { X509Certificate } from 'node:crypto'
import type { ChannelCredentials } from '@grpc/grpc-js'
import { verifyChain, selectSentChain } from '../../core/pki/verify-chain.ts'
import { parseCertificates } from '../../core/pki/x509.ts'
import { isNamed, deriveNames, explainNotNamed } from './server-name.ts'

export type CertificateClock = {
  /** What certificates are checked by. */
  nowMs(): number
  readonly clockIsWrong: boolean
  /** A NotBefore that was verified up to the control plane's roots. */
  seen(notBeforeMs: number): void
}
type Verified = {
  readonly roots: string
  readonly certificateClock: CertificateClock
  /** Undefined: the host of the address. */ readonly serverName: string | undefined
}

/** What node:tls gives, as far as it is needed here. */
type Secured = {
  readonly authorized?: boolean
  readonly authorizationError?: string | Error | null
  getPeerX509Certificate?(): X509Certificate | undefined
  destroy(): void
}

/** @param credentials made with rejectUnauthorized: false; nobody else may use them */
export function withVerification(credentials: ChannelCredentials, o: Verified): ChannelCredentials {
  const create = credentials._createSecureConnector.bind(credentials)
  credentials._createSecureConnector = (target, options, call) => {
    const connector = create(target, options, call)
    const name = options['grpc.ssl_target_name_override'] ?? hostOf(target.path)
    const names = deriveNames(name, name === o.serverName)
    return {
      connect: async (socket) => {
        const made = await connector.connect(socket)
        const why = explainUntrusted(made.socket as Secured, names, o)
        if (why === undefined) return made
        made.socket.destroy()
        throw new Error(why)
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    }
  }
  return credentials
}

/** What is wrong with the server's certificate, in words; undefined when it may be trusted. */
export function explainUntrusted(
  socket: Secured,
  names: readonly string[],
  { roots, certificateClock }: Pick<Verified, 'roots' | 'certificateClock'>,
): string | undefined {
  if (socket.authorized === true && !certificateClock.clockIsWrong) return undefined
  const certificate = socket.getPeerX509Certificate?.()
  const not = (why: string): string => `the server's certificate is not trusted: ${why}`
  if (!certificate) return not('there is none')
  // Typed as an Error, but it is OpenSSL's or Node's name of the reason.
  const said =
    typeof socket.authorizationError === 'string'
      ? socket.authorizationError
      : (socket.authorizationError?.message ?? '')
  // Not valid yet by a clock that seems right: the signature says that the clock is behind.
  const byTime = certificateClock.clockIsWrong || said === 'CERT_NOT_YET_VALID'
  if (byTime) return explainCertificate(certificate, names, { roots, certificateClock })
  if (said !== 'ERR_TLS_CERT_ALTNAME_INVALID') return not(WORDS[said] ?? said)
  // Node has compared another name, where the address is an IP address.
  return isNamed(certificate, names) ? undefined : explainNotNamed(certificate, names)
}

/** The same without OpenSSL, whose clock is the system's: of a connection at hand, or of a session that began earlier. */
export function explainCertificate(
  certificate: X509Certificate,
  names: readonly string[],
  { roots, certificateClock }: Pick<Verified, 'roots' | 'certificateClock'>,
): string | undefined {
  if (!isNamed(certificate, names)) return explainNotNamed(certificate, names)
  const answer = verifyChain({
    chain: selectSentChain(certificate),
    roots: parseCertificates(roots),
    crls: [],
    peer: 'server',
    nowMs: certificateClock.nowMs(),
    clock: 'lower-bound',
    graceMs: 0,
  })
  if (!answer.ok) return `the server's certificate is not trusted: ${answer.reason}`
  certificateClock.seen(answer.notBeforeMs)
  return undefined
}

/** OpenSSL's sentences for its names. */
const WORDS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self-signed certificate',
  SELF_SIGNED_CERT_IN_CHAIN: 'self-signed certificate in certificate chain',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unable to verify the first certificate',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unable to get local issuer certificate',
  UNABLE_TO_GET_ISSUER_CERT: 'unable to get issuer certificate',
}

/** grpc-js gives the target's path, HOST:PORT with an IPv6 address in brackets. */
function hostOf(path: string): string {
  const bracketed = /^\[([^\]]+)\]/.exec(path)
  return bracketed ? bracketed[1]! : path.replace(/:\d+$/, '')
}
