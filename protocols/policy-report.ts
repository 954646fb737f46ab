/** What AUDIT and dry-run policies have found, for whoever tries a policy out: by the rule's name, in the log and counted. */
import { BoundedNames } from './bounded-names.ts'
import { memoize } from '../core/memoize.ts'
import type { Cell, Family, Metrics } from '../core/metrics.ts'
import type { ShadowDecision } from './authz.ts'
import type { Connection } from './connection.ts'
import type { Context } from './context.ts'
import { withoutQuery } from './router.ts'

class PolicyCounters {
  readonly denied: Cell
  readonly #found: Family<'policy' | 'mode' | 'result'>
  readonly #names = new BoundedNames()

  constructor(metrics: Metrics) {
    this.denied = metrics
      .counter('mesh_authz_shadow_denied_total', 'Connections and requests that a dry-run policy would have refused.')
      .cell({})
    this.#found = metrics.counter(
      'mesh_authz_policy_total',
      'Connections and requests by what AUDIT (mode audit) and dry-run policies found, and the rule that decided; behind 1,000 rules the others are one.',
      ['policy', 'mode', 'result'],
    )
  }
  count(rule: string, mode: 'audit' | 'dry-run', result: 'allow' | 'deny'): void {
    this.#found.cell({ policy: this.#names.bound(rule), mode, result }).value++
  }
}

const countersOf = memoize((metrics: Metrics) => new PolicyCounters(metrics))

/** @param request undefined: of a connection. Its query may hold a token, and is not told. */
export function reportDecisions(
  decisions: readonly ShadowDecision[],
  { id, tls, remote }: Connection,
  request: { readonly method: string; readonly path: string } | undefined,
  { metrics, log }: Pick<Context, 'metrics' | 'log'>,
): void {
  const counted = countersOf(metrics)
  const asked = request && { method: request.method, path: withoutQuery(request.path) }
  for (const { rule, wouldAllow, isDryRun } of decisions) {
    counted.count(rule, isDryRun ? 'dry-run' : 'audit', wouldAllow ? 'allow' : 'deny')
    const who = { conn: id, rule, peer: tls?.peer?.spiffeId?.uri, client: remote.host, ...asked }
    if (!isDryRun) log.info({ evt: 'authz.audit', ...who }, 'AUDIT policy matches')
    else if (wouldAllow) log.debug({ evt: 'authz.shadow', ...who, result: 'allow' }, 'dry-run policy would allow')
    else {
      counted.denied.value++
      log.info({ evt: 'authz.shadow', ...who, result: 'deny' }, 'dry-run policy would refuse')
    }
  }
}
