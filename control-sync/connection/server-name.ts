/**
 * Which names the control plane's certificate may have, and which one the handshake asks for, where the address is no
 * name.
 */
import { X509Certificate } from 'node:crypto'
import type { ChannelCredentials } from '@grpc/grpc-js'
import { ipBytes } from '../../model/ip.ts'

/**
 * What istiod's certificate is always for. Istio's agent expects it of `localhost`, where a forwarded port is; here
 * also of addresses, which istiod's certificate has none of.
 */
const ISTIOD = 'istiod.istio-system.svc'

/** @param name control.serverName, else the host of the address, an IPv6 address without brackets. */
export function deriveNames(name: string, isConfigured: boolean): readonly string[] {
  return !isConfigured && (ipBytes(name) || name === 'localhost') ? [name, ISTIOD] : [name]
}

/** One of the names has to be in the certificate. */
export function isNamed(certificate: X509Certificate, names: readonly string[]): boolean {
  return names.some((name) => (ipBytes(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined)
}

/**
 * What a server with other names is refused with, in the words and with the code of node:tls.
 * @param raw its certificate, DER
 */
export function checkNames(raw: Buffer, names: readonly string[]): Error | undefined {
  const certificate = new X509Certificate(raw)
  return isNamed(certificate, names)
    ? undefined
    : Object.assign(new Error(explainNotNamed(certificate, names)), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
}

/** control-sync/ads/errors.ts knows it by "altnames". */
export function explainNotNamed({ subjectAltName }: X509Certificate, names: readonly string[]): string {
  return `the server's certificate has other altnames: it is for ${(subjectAltName ?? 'nobody').slice(0, 200)}, not for ${names.join(' or ')}`
}

/**
 * RFC 6066 §3: literal addresses are not permitted in server_name, and node:tls refuses them; grpc-js asks for what it
 * connects to. So the connector that it makes (`_createSecureConnector`, 1.13 and later) is told to ask for nothing.
 */
export function withoutIpName(credentials: ChannelCredentials): ChannelCredentials {
  const create = credentials._createSecureConnector.bind(credentials)
  credentials._createSecureConnector = (target, options, call) => {
    const connector = create(target, options, call)
    // Not in grpc-js's types; test/control-sync/connection/server-name.test.ts finds out when it is gone.
    const { connectionOptions } = connector as unknown as {
      readonly connectionOptions: { servername?: string | undefined }
    }
    if (ipBytes(connectionOptions.servername ?? '')) connectionOptions.servername = undefined
    return connector
  }
  return credentials
}
