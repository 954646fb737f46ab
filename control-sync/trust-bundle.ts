/** Further roots of the mesh, as the control plane sends them (PCDS: istio.mesh.v1alpha1.ProxyConfig, only from an istiod with ISTIO_MULTIROOT_MESH). */
import type { Current } from '../agent/core/current.ts'
import type { RawResource, Snapshot } from '../agent/model/snapshot.ts'
import type { Tables } from '../agent/model/tables.ts'
import { decode } from './decode/decode.ts'

export interface TrustBundle {
  /** PEM, one certificate each; the same array while nothing changed. Empty where the server sends none. */
  current(): readonly string[]
  /** Called with each other set of roots. */
  watch(fn: (rootsPem: readonly string[]) => void): Disposable
}

const NONE: readonly string[] = []
const decoded = new WeakMap<RawResource, readonly string[]>()

export function trustBundleOf(snapshot: () => Snapshot, tables: Current<Tables>): TrustBundle {
  const current = (): readonly string[] => {
    const [raw] = snapshot().resources.proxyConfig.values()
    if (!raw) return NONE
    const known = decoded.get(raw)
    if (known) return known
    const made = decode('proxyConfig', raw.value)
    const roots = made.ok ? made.value.caCertificatesPem : NONE
    decoded.set(raw, roots)
    return roots
  }
  return {
    current,
    watch(fn) {
      let last = current()
      return tables.watch(() => {
        const next = current()
        if (next === last) return
        last = next
        fn(next)
      })
    },
  }
}
