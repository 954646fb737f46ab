/** Certificates by the device's key: what was joined with once is never needed again. */
import { MeshError } from '../../../core/errors.ts'
import { MAX_CHAIN_CHARS, RENEW_PATH, type Renewed } from '../../../model/fleet/enrollment.ts'
import { MAX_CHAIN, readIssued, type CertificateAuthority } from '../../identity/ca-client.ts'
import { createCsr, createKey } from '../../identity/csr.ts'
import type { EnrollmentStore } from './enrollment-store.ts'

const MAX_ROOTS_CHARS = 64 * 1024

/** `host` for messages. Rejects as `askHub`. */
export type AskHub = (path: string, claims: object) => Promise<{ readonly body: unknown; readonly host: string }>
export type DeviceAuthorityOptions = {
  readonly enrollment: EnrollmentStore
  /** Makes a request of it, by the device's key, over HTTPS or the relay. */
  readonly ask: AskHub
  /** The hub says what it is checked against from now on. */
  readonly learnRoots: (hubRootsPem: string) => void
}

/** Also where the certificate has expired: the key proves the device, and the hub says how late it is. */
export function createDeviceAuthority({ enrollment, ask, learnRoots }: DeviceAuthorityOptions): CertificateAuthority {
  return async ({ spiffeUri, ttlSec, key }) => {
    const keyPem = await createKey(key)
    const { counter, chain, nonce } = enrollment.begin()
    const claims = { counter, chain, nonce, ttlSec, csr: createCsr(keyPem, spiffeUri) }
    const { body, host } = await ask(RENEW_PATH, claims)
    const renewed = readRenewed(body, host)
    const identity = readIssued(keyPem, renewed.certChain, host)
    enrollment.answered(renewed)
    if (renewed.hubRootsPem !== undefined) learnRoots(renewed.hubRootsPem)
    return { identity, ttlRefused: undefined }
  }
}

/** Throws MESH_CONTROL_PROTOCOL. */
export function readRenewed(body: unknown, host: string): Renewed {
  const { certChain, counter, chain, hubRootsPem } = Object(body) as Record<string, unknown>
  const isWhole =
    Array.isArray(certChain) &&
    certChain.length <= MAX_CHAIN &&
    certChain.every((pem) => typeof pem === 'string') &&
    Number.isSafeInteger(counter) &&
    typeof chain === 'string' &&
    chain.length <= MAX_CHAIN_CHARS &&
    (hubRootsPem === undefined || (typeof hubRootsPem === 'string' && hubRootsPem.length <= MAX_ROOTS_CHARS))
  if (!isWhole) throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers with something that is no certificate`)
  return {
    certChain: certChain as string[],
    counter: counter as number,
    chain,
    ...(typeof hubRootsPem === 'string' ? { hubRootsPem } : {}),
  }
}
