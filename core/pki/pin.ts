/** Pins of roots: what a device that has no roots yet knows the hub by. */
import { createHash, type X509Certificate } from 'node:crypto'
import { parseCertificates } from './x509.ts'

/** `sha256:` and the hash of the public key (SubjectPublicKeyInfo, DER), as kubeadm's --discovery-token-ca-cert-hash. */
export function hashPin({ publicKey }: X509Certificate): string {
  return `sha256:${createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')}`
}

export function listPins(rootsPem: string): readonly string[] {
  return parseCertificates(rootsPem).map(hashPin)
}
