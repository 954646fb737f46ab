/**
 * A CA in memory with identities of the mesh, for tests of everything that speaks TLS. Built on the hub's own signing
 * code.
 */
import { generateKeyPairSync } from 'node:crypto'
import { isIP } from 'node:net'
import { parseSpiffeId, type Identity } from '../../model/identity.ts'
import { createRoot, signLeaf } from '../../hub/ca/root.ts'

export type IssueOptions = {
  /** Default: a day. */
  readonly ttlSec?: number
  /** Milliseconds since the epoch; default: two minutes ago. The lifetime counts from here. */
  readonly notBeforeMs?: number
  /** Beside the SPIFFE id; an IP address becomes an address in the certificate. */
  readonly dnsNames?: readonly string[]
  /** Another URI than that of namespace and service account. */
  readonly spiffeUri?: string
}
export type TestCa = {
  readonly trustDomain: string
  readonly rootsPem: string
  readonly rootKeyPem: string
  issue(namespace: string, serviceAccount: string, options?: IssueOptions): Identity
}

/** Dates are those of the real clock, because OpenSSL checks certificates by it. */
export function testCa(trustDomain = 'cluster.local'): TestCa {
  const nowMs = Math.floor(Date.now() / 1_000) * 1_000
  const { root, keyPem: rootKeyPem } = createRoot({ trustDomain, notBeforeMs: nowMs - 365 * 86_400_000 })
  return {
    trustDomain,
    rootsPem: root.certificatePem,
    rootKeyPem,
    issue(namespace, serviceAccount, o = {}) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      const spiffeId = parseSpiffeId(o.spiffeUri ?? `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`)
      if (!spiffeId) throw new Error('not a SPIFFE id')
      const notBeforeMs = o.notBeforeMs ?? nowMs - 120_000
      const leaf = signLeaf(root, {
        publicKey,
        notBeforeMs,
        notAfterMs: notBeforeMs + (o.ttlSec ?? 86_400) * 1_000,
        altNames: [
          { kind: 'uri', value: spiffeId.uri },
          ...(o.dnsNames ?? []).map((value) => ({ kind: isIP(value) ? 'ip' : 'dns', value }) as const),
        ],
      })
      return {
        spiffeId,
        keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
        chainPem: leaf.pem,
        rootsPem: root.certificatePem,
        serial: leaf.serial,
        notBeforeMs,
        notAfterMs: leaf.notAfterMs,
      }
    },
  }
}
