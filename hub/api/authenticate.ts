/**
 * Who calls: a client certificate of this hub's CA, or a join token. The TLS port asks for a certificate without
 * insisting on one, because a device that joins has none; so everything about it is checked here.
 */
import { X509Certificate } from 'node:crypto'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { checkValidity, isExpired } from '../../core/pki/validity.ts'
import { parseSpiffeId, type SpiffeId } from '../../model/identity.ts'
import type { Ca } from '../ca/ca.ts'
import { KEY_HOLDER, type Enrollment } from '../registry/enrollments.ts'
import { TOKEN_HOLDER } from '../registry/names.ts'
import type { Registry } from '../registry/registry.ts'
import type { Tokens } from '../tokens.ts'

export type Credentials = {
  /** DER of the certificate that OpenSSL accepted against the root in this handshake; undefined without one. */
  readonly certificate: Buffer | undefined
  /** Values of the `authorization` header. */
  readonly authorization: readonly string[]
  /** Of a device that has proved its key over this connection. */
  readonly key?: ProvedKey
}
export type ProvedKey = {
  /** Thumbprint. */
  readonly id: string
  /**
   * End of the certificate that goes with the key, as far as this connection knows: it grows by renewals that come over
   * it, and by no others, for a copy of the device would live on what the device renews. 0: it has to renew first.
   */
  readonly certificate: { notAfterMs: number }
}
export type Caller = {
  readonly spiffeId: SpiffeId
  readonly namespace: string
  readonly serviceAccount: string
  /** When certificate or token end, milliseconds since the epoch. */
  readonly endsMs: number
} & (
  | { readonly by: 'certificate'; readonly serial: string; readonly jti: string | undefined; readonly device: string }
  | { readonly by: 'token'; readonly jti: string }
  /** A device with a key of its own, which has proved that it has it. */
  | {
      readonly by: 'key'
      readonly jti: undefined
      readonly device: string
      /** Of a stream that it must not outlast; it may grow. */
      readonly certificate?: { readonly notAfterMs: number }
      /** It has to renew, as a copy has: what it takes up is not the device's. */
      readonly isBehind?: true
    }
)

/** Whom names, streams and budgets belong to: the device, or whoever shows the token. */
export function describeHolder(caller: Caller): string {
  if (caller.by === 'token') return `${TOKEN_HOLDER}${caller.jti}`
  return caller.by === 'key' && caller.isBehind === true ? `${caller.device} behind` : caller.device
}

/**
 * Rejects with MESH_CONTROL_UNAUTHENTICATED, MESH_TOKEN_INVALID: whoever was let in may not go on.
 * @param what `end`: without asking the registry
 */
export async function checkCaller(
  caller: Caller,
  what: 'end' | 'all',
  p: { readonly registry: Registry; readonly clock: Clock },
): Promise<void> {
  if (caller.by === 'key') {
    await checkKey(caller, what, p)
    return
  }
  const isToken = caller.by === 'token'
  if (isExpired({ notAfterMs: caller.endsMs }, p.clock.wallMs()))
    throw new MeshError(
      isToken ? 'MESH_TOKEN_INVALID' : 'MESH_CONTROL_UNAUTHENTICATED',
      `the ${isToken ? 'join token' : 'client certificate'} ended at ${new Date(caller.endsMs).toISOString()}`,
    )
  if (what === 'end') return
  const revoked =
    caller.by === 'certificate'
      ? (await p.registry.certificate(caller.serial))?.revokedMs
      : caller.jti !== undefined && (await p.registry.token(caller.jti))?.revokedMs
  if (typeof revoked !== 'number') return
  throw isToken
    ? new MeshError('MESH_TOKEN_INVALID', 'the join token is revoked')
    : new MeshError('MESH_CONTROL_UNAUTHENTICATED', `the client certificate ${REVOKED}`)
}

async function checkKey(
  { certificate, device }: Caller & { readonly by: 'key' },
  what: 'end' | 'all',
  { registry, clock }: { readonly registry: Registry; readonly clock: Clock },
): Promise<void> {
  if (certificate && isExpired(certificate, clock.wallMs()))
    throw new MeshError(
      'MESH_CONTROL_UNAUTHENTICATED',
      certificate.notAfterMs === 0
        ? 'the device does not stand where its last renewal left it, and has to renew'
        : `the certificate of the device ended at ${new Date(certificate.notAfterMs).toISOString()}`,
    )
  if (what === 'all') await findDevice(device.slice(KEY_HOLDER.length), registry)
}

/** Rejects with MESH_DEVICE_UNKNOWN or MESH_DEVICE_REVOKED. */
async function findDevice(keyId: string, registry: Registry): Promise<Enrollment> {
  const device = await registry.enrollments.byKey(keyId)
  if (!device) throw new MeshError('MESH_DEVICE_UNKNOWN', `the hub knows no device with the key ${keyId}`)
  if (device.state === 'active') return device
  throw new MeshError('MESH_DEVICE_REVOKED', `the device ${device.name} is ${device.state}`)
}

const REVOKED = 'is revoked, itself or with the join token that it was given for'

export type Authenticator = (credentials: Credentials) => Promise<Caller>
type AuthenticatorParts = {
  readonly ca: Ca
  readonly tokens: Tokens
  readonly registry: Registry
  readonly clock: Clock
}

/**
 * A valid certificate wins over a token, so that an old token beside it does no harm.
 * It rejects with MESH_CONTROL_UNAUTHENTICATED (nothing usable was shown) and MESH_TOKEN_INVALID.
 */
export function createAuthenticator(p: AuthenticatorParts): Authenticator {
  return async ({ certificate, authorization, key }) => {
    if (key) return await authenticateKey(key, p)
    const shown = certificate ? await authenticateCertificate(certificate, p) : undefined
    if (shown && 'caller' in shown) return shown.caller
    const token =
      authorization.length === 1 ? /^Bearer +([^ ]+) *$/i.exec(authorization[0]!.slice(0, 8_192))?.[1] : undefined
    if (token === undefined)
      throw new MeshError(
        'MESH_CONTROL_UNAUTHENTICATED',
        shown
          ? `the client certificate ${shown.refused}`
          : 'neither a client certificate of this hub nor a join token was shown',
      )
    return await authenticateToken(token, p)
  }
}

async function authenticateCertificate(
  der: Buffer,
  { ca, registry, clock }: AuthenticatorParts,
): Promise<{ caller: Caller } | { refused: string }> {
  const leaf = new X509Certificate(der)
  // OpenSSL has checked chain and dates when the connection began; a connection may outlive its certificate.
  const dates = { notBeforeMs: leaf.validFromDate.getTime(), notAfterMs: leaf.validToDate.getTime() }
  if (!ca.roots.some(({ certificate: root }) => leaf.verify(root.publicKey)))
    return { refused: 'is not one of this hub' }
  if (checkValidity(dates, clock.wallMs()).state !== 'valid') return { refused: 'is not valid at this time' }
  const uris = (leaf.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'))
  const spiffeId = uris.length === 1 ? parseSpiffeId(uris[0]!.slice(4)) : undefined
  if (
    spiffeId?.namespace === undefined ||
    spiffeId.serviceAccount === undefined ||
    spiffeId.trustDomain !== ca.trustDomain
  )
    return { refused: 'names no workload of this mesh' }
  const serial = leaf.serialNumber.toLowerCase()
  const known = await registry.certificate(serial)
  // Whether it was revoked is unknown: a registry that was lost must not let in again who was thrown out.
  if (!known)
    return {
      refused:
        'does not stand in the registry of this hub: restore the registry together with the CA, or let the device join again',
    }
  if (known.revokedMs !== null) return { refused: REVOKED }
  return {
    caller: {
      by: 'certificate',
      serial,
      endsMs: dates.notAfterMs,
      jti: known.jti ?? undefined,
      device: known.device ?? `serial:${serial}`,
      spiffeId,
      namespace: spiffeId.namespace,
      serviceAccount: spiffeId.serviceAccount,
    },
  }
}

/** Rejects with MESH_DEVICE_UNKNOWN, MESH_DEVICE_REVOKED, and MESH_CONTROL_UNAUTHENTICATED for one that has to renew. */
async function authenticateKey({ id, certificate }: ProvedKey, p: AuthenticatorParts): Promise<Caller> {
  const caller = describeKeyCaller(await findDevice(id, p.registry), p.ca.trustDomain, certificate)
  await checkKey(caller, 'end', p)
  return caller
}

/** Throws MESH_INTERNAL. */
export function describeKeyCaller(
  { name, keyId, namespace, serviceAccount }: Pick<Enrollment, 'name' | 'keyId' | 'namespace' | 'serviceAccount'>,
  trustDomain: string,
  certificate?: { readonly notAfterMs: number },
): Caller & { readonly by: 'key' } {
  const spiffeId = parseSpiffeId(`spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`)
  if (!spiffeId) throw new MeshError('MESH_INTERNAL', `the device ${name} is no workload`)
  const device = KEY_HOLDER + keyId
  return {
    by: 'key',
    jti: undefined,
    device,
    endsMs: Infinity,
    namespace,
    serviceAccount,
    spiffeId,
    ...(certificate && { certificate }),
  }
}

async function authenticateToken(token: string, { tokens, ca }: AuthenticatorParts): Promise<Caller> {
  const { jti, namespace, serviceAccount, expiresMs } = await tokens.verify(token)
  const spiffeId = parseSpiffeId(`spiffe://${ca.trustDomain}/ns/${namespace}/sa/${serviceAccount}`)
  if (!spiffeId) throw new MeshError('MESH_TOKEN_INVALID', 'the join token names no workload')
  return { by: 'token', jti, endsMs: expiresMs, namespace, serviceAccount, spiffeId }
}
