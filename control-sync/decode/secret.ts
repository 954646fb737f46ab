/**
 * envoy.extensions.transport_sockets.tls.v3.Secret → Secret: a certificate with its key, or roots with revocation lists.
 * No message about it repeats a byte of it.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { CertificateRef, Secret } from '../../model/tls.ts'
import type { Secret as XSecret } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import type { DecodePath } from './fields/decode-path.ts'
import { decodeCertificate, decodeValidation } from './tls.ts'

/** A certificate with an issue is none: the one before it serves on, as in Envoy. */
export function decodeSecret(at: DecodePath, { type: by }: XSecret): Secret {
  switch (by.case) {
    case 'tlsCertificate': {
      const here = at.in('tls_certificate')
      const certificate = decodeCertificate(here, by.value)
      if (!certificate) here.issue('needs certificate_chain and private_key')
      else checkPair(here, certificate)
      return certificate ? { kind: 'certificate', certificate } : NOTHING
    }
    case 'validationContext':
      return at.piece(
        () => {
          const here = at.in('validation_context')
          const validation = decodeValidation(here, by.value)
          if (!validation) here.issue('has no roots')
          return validation ? { kind: 'roots', validation } : NOTHING
        },
        (reason) => ({ kind: 'blocked', reason }),
      )
    case undefined:
      at.issue('holds neither a certificate nor roots')
      return NOTHING
    default:
      return by satisfies never
  }
}
const NOTHING: Secret = { kind: 'blocked', reason: 'it cannot be used' }

/** Of files it is found out when they are used. */
function checkPair(at: DecodePath, certificate: CertificateRef): void {
  if (certificate.from !== 'pem') return
  let leaf: X509Certificate
  try {
    leaf = new X509Certificate(certificate.chainPem)
  } catch {
    at.in('certificate_chain').issue('holds no certificate')
    return
  }
  try {
    if (leaf.checkPrivateKey(createPrivateKey(certificate.keyPem))) return
  } catch {
    at.in('private_key').issue('holds no key that could be read')
    return
  }
  at.in('private_key').issue('is not the key of the certificate')
}
