/** Which modes of mutual TLS a workload takes (model/authentication.go, security/authn/policy_applier.go). */
import { isSelected, type Config } from '../config.ts'
import type { Labels } from '../kinds/fields.ts'

export type MtlsMode = 'DISABLE' | 'PERMISSIVE' | 'STRICT'
export type WorkloadMtls = { readonly mode: MtlsMode; readonly perPort: ReadonlyMap<number, MtlsMode> }

type Policy = Config<'PeerAuthentication'>
const hasSelector = ({ spec }: Policy): boolean => Object.keys(spec.selector?.matchLabels ?? {}).length > 0
function modeOf(mtls: Policy['spec']['mtls']): MtlsMode | undefined {
  return mtls?.mode === undefined || mtls.mode === 'UNSET' ? undefined : mtls.mode
}

export class PeerPolicies {
  readonly #policies: readonly Policy[]
  readonly #root: string
  /** Namespace → its one policy without a selector, the oldest. */
  readonly #general = new Map<string, Policy>()

  /** @param policies oldest first @param root the namespace whose policies are for all */
  constructor(policies: readonly Policy[], root: string) {
    this.#root = root
    for (const policy of policies)
      if (!hasSelector(policy) && !this.#general.has(policy.namespace)) this.#general.set(policy.namespace, policy)
    this.#policies = policies.filter((p) => hasSelector(p) && p.namespace !== root)
  }

  /** What its own workloads take, for clients of a service in that namespace; undefined: nobody says. */
  modeOfNamespace(namespace: string): MtlsMode | undefined {
    const root = this.#general.get(this.#root)
    const general = root && (modeOf(root.spec.mtls) ?? 'PERMISSIVE')
    const own = this.#general.get(namespace)
    if (!own || namespace === this.#root) return general
    return modeOf(own.spec.mtls) ?? general ?? 'PERMISSIVE'
  }

  /** The narrowest policy counts; what it leaves open comes from the wider one. */
  modesOfWorkload(namespace: string, labels: Labels): WorkloadMtls {
    const own = this.#policies.find(
      (p) => p.namespace === namespace && isSelected(p.spec.selector?.matchLabels, labels),
    )
    const wider = [this.#general.get(this.#root), this.#general.get(namespace)]
    let mode: MtlsMode = 'PERMISSIVE'
    for (const policy of [...wider, own]) mode = modeOf(policy?.spec.mtls) ?? mode
    const perPort = Object.entries(own?.spec.portLevelMtls ?? {}).map(
      ([port, mtls]) => [Number(port), modeOf(mtls) ?? mode] as const,
    )
    return { mode, perPort: new Map(perPort.sort(([a], [b]) => a - b)) }
  }
}
