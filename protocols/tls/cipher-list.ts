/** OpenSSL's way to name ciphers. */
import tls from 'node:tls'

/** Whether there is a cipher of TLS 1.2 in it. */
export function isCipherList(ciphers: string): boolean {
  try {
    tls.createSecureContext({ ciphers, maxVersion: 'TLSv1.2' })
    return true
  } catch {
    return false
  }
}
