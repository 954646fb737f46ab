/** Certificates by the device's key: what was joined with once is never needed again. */
import { MeshError } from '../../core/errors.ts'
import { RENEW_PATH, type Renewed } from '../../model/fleet/enrollment.ts'
import { MAX_CHAIN, readIssued, type CertificateAuthority } from '../identity/ca-client.ts'
import { createCsr, createKey } from '../identity/csr.ts'
import type { EnrollmentStore } from './enrollment-store.ts'
import { askHub, type HubClientOptions } from './hub-client.ts'

const MAX_VALUE_CHARS = 64
const MAX_ROOTS_CHARS = 64 * 1024

export type DeviceAuthorityOptions = {
  readonly enrollment: EnrollmentStore
  /** Read at each request: roots, key and proxy may change. */
  readonly connect: () => Promise<HubClientOptions>
  /** The hub says what it is checked against from now on. */
  readonly learnRoots: (hubRootsPem: string) => void
}

/** Also where the certificate has expired: the key proves the device, and the hub says how late it is. */
export function createDeviceAuthority({
  enrollment,
  connect,
  learnRoots,
}: DeviceAuthorityOptions): CertificateAuthority {
  return async ({ spiffeUri, ttlSec, key }) => {
    const keyPem = await createKey(key)
    const { counter, chain, nonce } = enrollment.begin()
    const client = await connect()
    const claims = { counter, chain, nonce, ttlSec, csr: createCsr(keyPem, spiffeUri) }
    const { body } = await askHub(client, RENEW_PATH, claims)
    const renewed = readRenewed(body, client.url.host)
    const identity = readIssued(keyPem, renewed.certChain, client.url.host)
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
    chain.length <= MAX_VALUE_CHARS &&
    (hubRootsPem === undefined || (typeof hubRootsPem === 'string' && hubRootsPem.length <= MAX_ROOTS_CHARS))
  if (!isWhole) throw new MeshError('MESH_CONTROL_PROTOCOL', `${host} answers with something that is no certificate`)
  return {
    certChain: certChain as string[],
    counter: counter as number,
    chain,
    ...(typeof hubRootsPem === 'string' ? { hubRootsPem } : {}),
  }
}
