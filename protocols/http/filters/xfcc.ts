/**
 * x-forwarded-client-cert (envoy HttpConnectionManager.forward_client_cert_details): who the TLS handshake proved the
 * client to be. Pure.
 */
import type { PeerIdentity } from '../../../model/identity.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { removeHeader } from '../codec/field-table.ts'
import { asFieldValue } from '../codec/field-value.ts'

export const XFCC = 'x-forwarded-client-cert'

/**
 * Changes the header in place. What a client without a verified certificate claims is removed in every mode but
 * always-forward-only.
 * @param element what `xfccElement` made of the peer; undefined = the client showed no certificate
 */
export function applyXfcc(
  headers: string[],
  mode: HttpConnectionManager['forwardClientCert'],
  element: string | undefined,
): void {
  if (mode === 'always-forward-only') return
  if (mode === 'sanitize' || element === undefined) {
    removeHeader(headers, XFCC)
    return
  }
  switch (mode) {
    case 'forward-only':
      return
    case 'sanitize-set':
      removeHeader(headers, XFCC)
      headers.push(XFCC, element)
      return
    case 'append-forward': {
      for (let i = 0; i < headers.length; i += 2)
        if (headers[i] === XFCC) {
          headers[i + 1] = appended(headers, i, element)
          return
        }
      headers.push(XFCC, element)
      return
    }
    default:
      mode satisfies never
  }
}

/**
 * `By` and `Hash` always; the rest as configured. Cert and Chain need the PEM text, which the connection does not keep;
 * they are left out.
 */
export function formatXfccElement(
  details: HttpConnectionManager['clientCertDetails'],
  peer: PeerIdentity,
  ownUri: string | undefined,
): string {
  let text = ownUri === undefined ? '' : `By=${quotedIfNeeded(ownUri)};`
  text += `Hash=${peer.sha256}`
  if (details.subject) text += `;Subject="${escapedSubject(peer.subject)}"`
  if (details.uri)
    text += peer.uriSans.length === 0 ? ';URI=' : peer.uriSans.map((uri) => `;URI=${quotedIfNeeded(uri)}`).join('')
  if (details.dns) text += peer.dnsSans.map((dns) => `;DNS=${quotedIfNeeded(dns)}`).join('')
  return asFieldValue(text)
}

/** The last line gets the element; earlier lines of that name stay before it in order. */
function appended(headers: string[], first: number, element: string): string {
  let all = headers[first + 1]!
  for (let i = first + 2; i < headers.length;) {
    if (headers[i] === XFCC) {
      all += `,${headers[i + 1]!}`
      headers.splice(i, 2)
    } else i += 2
  }
  return all === '' ? element : `${all},${element}`
}

/** A value that holds a separator stands in quotes, so that a name in a certificate cannot imitate a field. */
function quotedIfNeeded(value: string): string {
  return /[,;="\\\s]/.test(value) ? `"${escapedSubject(value)}"` : value
}

function escapedSubject(text: string): string {
  return text.replaceAll('"', '\\"')
}
