import type { RawResource, Snapshot } from '../../model/snapshot.ts'
import { decode } from '../decode/decode.ts'
import type { ProxyConfig } from '../decode/names.ts'

const known = new WeakMap<RawResource, ProxyConfig>()

/**
 * Roots of the mesh, and what is revoked of it, that the control plane sends (Istio's ProxyConfig); the same object as
 * long as the resource is the same.
 */
export function collectSentTrust({ resources }: Snapshot): ProxyConfig {
  // There is one; its name says nothing.
  const [raw] = resources.proxyConfig.values()
  if (!raw) return NONE
  const before = known.get(raw)
  if (before) return before
  const decoded = decode('proxyConfig', raw.value)
  const sent = decoded.ok ? decoded.value : NONE
  known.set(raw, sent)
  return sent
}
const NONE: ProxyConfig = { caCertificatesPem: [], revocationListsPem: [] }
