/**
 * The CA that is plugged into an istiod (its `cacerts`): a root and an intermediate that signs, as an operator would
 * make them.
 */
import { generateKeyPairSync } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { createRoot, type Root } from '../../../../hub/ca/root.ts'
import { buildCertificate, encodeCaName, hashKeyId } from '../../../../hub/ca/x509.ts'

const DAY_MS = 86_400_000

/** Of an organization's own; the same for several istiods of one mesh. */
export class MeshCa {
  readonly root: Root
  readonly intermediatePem: string
  readonly intermediateKeyPem: string

  constructor(trustDomain = 'cluster.local') {
    const notBeforeMs = Math.floor(Date.now() / 1000) * 1000 - DAY_MS
    this.root = createRoot({ trustDomain, notBeforeMs }).root
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    this.intermediatePem = buildCertificate({
      publicKey,
      issuer: this.root.issuer,
      subject: encodeCaName(trustDomain, `intermediate of ${hashKeyId(publicKey).toString('hex').slice(0, 8)}`),
      use: 'ca',
      altNames: [],
      notBeforeMs,
      notAfterMs: notBeforeMs + 365 * DAY_MS,
    }).pem
    this.intermediateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  }
  get rootPem(): string {
    return this.root.certificatePem
  }

  /**
   * Istio's four files; like Istio's own Makefile the chain carries the root too.
   * @param roots what is trusted, more than one while roots rotate
   */
  writeTo(folder: string, roots: string = this.rootPem): void {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    const files = {
      'ca-cert.pem': this.intermediatePem,
      'ca-key.pem': this.intermediateKeyPem,
      'cert-chain.pem': this.intermediatePem + this.rootPem,
      'root-cert.pem': roots,
    }
    for (const [name, pem] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), pem, { mode: 0o600 })
  }
}
