/** The messages of IstioCertificateService, whatever carries them. */
import { create } from '@bufbuild/protobuf'
import { toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { IstioCertificateResponseSchema } from '../../proto/gen/istio/v1/auth/ca_pb.ts'
import type { IstioCertificateRequest, IstioCertificateResponse } from '../../proto/services.ts'
import type { Caller } from './authenticate.ts'
import type { CertificateService } from './certificate-service.ts'

/** Rejects as `CertificateService.create`. */
export async function answerCertificateRequest(
  certificates: CertificateService,
  caller: Caller,
  { csr: csrPem, validityDuration, metadata }: IstioCertificateRequest,
  ip: string,
): Promise<IstioCertificateResponse> {
  const wish = {
    csrPem,
    validitySec: Number(validityDuration),
    impersonates: metadata?.['ImpersonatedIdentity'] !== undefined,
  }
  const { chainPem } = await certificates.create(caller, wish, ip)
  return create(IstioCertificateResponseSchema, { certChain: [...chainPem] })
}

export function reportCertificateRefused(
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
  ip: string,
  err: unknown,
): void {
  metrics
    .counter('mesh_hub_certificates_refused_total', 'Certificate requests that the hub refused, by code.', ['code'])
    .cell({ code: toMeshError(err).code }).value++
  log.warn({ evt: 'hub.certificate-refused', ip, err }, 'certificate request refused')
}
