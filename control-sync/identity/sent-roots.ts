import type { RawResource, Snapshot } from '../../model/snapshot.ts'
import { decode } from '../decode/decode.ts'

const known = new WeakMap<RawResource, readonly string[]>()

/**
 * Roots of the mesh that the control plane sends (Istio's ProxyConfig ca_certificates_pem); the same array as long as
 * the resource is the same.
 */
export function collectSentRoots({ resources }: Snapshot): readonly string[] {
  // There is one, without a name.
  const [raw] = resources.proxyConfig.values()
  if (!raw) return NONE
  const before = known.get(raw)
  if (before) return before
  const decoded = decode('proxyConfig', raw.value)
  const roots = decoded.ok ? decoded.value.caCertificatesPem : NONE
  known.set(raw, roots)
  return roots
}
const NONE: readonly string[] = []
