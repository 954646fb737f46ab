import type { DownstreamTls } from '../../model/tls.ts'

/** As istiod has it inbound: the mesh's certificate, and clients that show one of the mesh. */
export const MUTUAL: DownstreamTls = {
  certificate: { from: 'workload' },
  validation: { roots: { from: 'workload' }, sans: [] },
  requireClientCertificate: true,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
}
