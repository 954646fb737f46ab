/**
 * istio.v1.auth.IstioCertificateService as istiod answers it (istio/api security/v1alpha1/ca.proto,
 * security/pkg/server/ca): the certified identity is that of the caller, whatever the request says; cert_chain is leaf,
 * then root.
 */
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Ca, Issued } from '../ca/ca.ts'
import { KEY_HOLDER } from '../registry/enrollments.ts'
import type { Registry } from '../registry/registry.ts'
import { checkCaller, type Caller } from './authenticate.ts'
import type { Budgets } from './budgets.ts'

export type CertificateRequest = {
  readonly csrPem: string
  /** Wished life in seconds; 0 or less: the default. */
  readonly validitySec: number
  /** Istio's `ImpersonatedIdentity` of the metadata was set. */
  readonly impersonates: boolean
}
export type CertificateService = {
  /** @param registry a transaction that it is part of; undefined: it has one of its own */
  create(caller: Caller, request: CertificateRequest, ip: string, registry?: Registry): Promise<Issued>
}

export type CertificateServiceOptions = {
  readonly ca: Ca
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly budgets: Budgets
  readonly certificateTtlSec: number
  readonly maxCertificateTtlSec: number
}

/**
 * `create` rejects with MESH_MALFORMED_INPUT (request, life above the maximum), MESH_CONTROL_FORBIDDEN (token used up,
 * impersonation), MESH_CONTROL_SLOW_DOWN (more than its budget), and what `Ca.sign` and the registry throw.
 */
export function createCertificateService(p: CertificateServiceOptions): CertificateService {
  const signed = p.metrics.counter(
    'mesh_hub_certificates_total',
    'Certificates that the hub signed, by what the caller proved itself with.',
    ['by'],
  )
  return {
    async create(caller, { csrPem, validitySec, impersonates }, ip, registry = p.registry) {
      checkRequest(caller, { validitySec, impersonates }, p.maxCertificateTtlSec)
      p.budgets.certificate(caller)
      const issued = p.ca.sign({
        csrPem,
        spiffeUri: caller.spiffeId.uri,
        ttlSec: validitySec > 0 ? validitySec : p.certificateTtlSec,
      })
      const nowMs = p.clock.wallMs()
      await registry.exclusively((tx) => record(tx, caller, { ...issued, ip, nowMs }, p.clock))
      signed.cell({ by: caller.by }).value++
      p.log.info(
        {
          evt: 'hub.certificate',
          spiffeId: caller.spiffeId.uri,
          by: caller.by,
          serial: issued.serial,
          notAfter: new Date(issued.notAfterMs).toISOString(),
          ip,
        },
        'certificate signed',
      )
      return issued
    },
  }
}

/** Throws MESH_CONTROL_FORBIDDEN, MESH_MALFORMED_INPUT. */
function checkRequest(
  caller: Caller,
  { validitySec, impersonates }: Omit<CertificateRequest, 'csrPem'>,
  maxTtlSec: number,
): void {
  if (impersonates)
    throw new MeshError(
      'MESH_CONTROL_FORBIDDEN',
      'the hub certifies nobody but the caller; ImpersonatedIdentity is not supported',
    )
  // A copy of the certificate would renew itself for ever, and nobody would see it.
  if (caller.by === 'certificate' && caller.device.startsWith(KEY_HOLDER))
    throw new MeshError(
      'MESH_CONTROL_FORBIDDEN',
      'the device has a key of its own and renews by it (control.hub of agent.yaml)',
    )
  if (validitySec > maxTtlSec)
    throw new MeshError(
      'MESH_MALFORMED_INPUT',
      `a life of ${validitySec} s was asked for, the longest is ${maxTtlSec} s`,
    )
}

/** Rejects with MESH_CONTROL_FORBIDDEN, MESH_CONTROL_UNAUTHENTICATED, MESH_TOKEN_INVALID: nothing is given. */
async function record(
  tx: Registry,
  caller: Caller,
  { serial, keyId, notAfterMs, ip, nowMs }: Issued & { readonly ip: string; readonly nowMs: number },
  clock: Clock,
): Promise<void> {
  // Revoked since it was let in, it would get what nobody revokes any more.
  await checkCaller(caller, 'all', { registry: tx, clock })
  if (caller.by === 'token' && (await tx.useToken(caller.jti, keyId, nowMs)) === 'used-up')
    throw new MeshError('MESH_CONTROL_FORBIDDEN', 'the join token has certified as many keys as it may')
  await tx.addCertificate({
    serial,
    spiffeUri: caller.spiffeId.uri,
    jti: caller.jti ?? null,
    device: caller.by === 'token' ? keyId : caller.device,
    ip,
    issuedMs: nowMs,
    notAfterMs,
  })
}
