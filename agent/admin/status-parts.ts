/** What the status of an agent is collected from. */
import type { HealthChecker } from '../workload-health/checker.ts'
import type { Bridge } from '../../protocols/mqtt/bridge/bridge.ts'
import type { Broker } from '../../protocols/mqtt/broker.ts'
import type { AclFiles } from '../../protocols/mqtt/authorization/acl-files.ts'
import type { Spool } from '../../protocols/mqtt/spool/spool.ts'
import type { DataPath } from '../../protocols/downstream/data-path.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import type { KeySets } from '../../protocols/jwks/key-sets.ts'
import type { RemoteKeys } from '../../protocols/jwks/remote-keys.ts'
import type { DnsProxy } from '../../protocols/dns/proxy.ts'
import type { AgentFacts } from '../facts.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { Configuration } from '../configuration/configuration.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { Current } from '../../core/current.ts'
import type { MeshError } from '../../core/errors.ts'
import type { InheritedSockets } from '../../core/os/inherited-sockets.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'
import type { NamedFiles } from '../../core/os/named-files.ts'
import type { AgentIdentity } from '../identity.ts'
import type { Listener } from '../../model/listener.ts'
import type { Tables } from '../../model/tables.ts'
import type { OwnNode } from '../own-node.ts'
import type { Readiness } from '../readiness.ts'
import type { Reloader } from '../reload/reloader.ts'

export type StatusParts = {
  readonly config: AgentConfig
  readonly facts: AgentFacts
  readonly node: OwnNode
  readonly startedMs: number
  readonly clock: Clock
  readonly metrics: Metrics
  readonly budget: Pick<MemoryBudget, 'isFull' | 'pressure'>
  readonly tables: Current<Tables>
  readonly files: NamedFiles
  readonly readiness: Readiness
  readonly reloader: Pick<Reloader, 'error' | 'needsRestart' | 'reload'>
  readonly identity: AgentIdentity
  readonly configuration: Configuration
  readonly dataPath: DataPath
  /** Listeners of agent.yaml. */
  readonly own: readonly Listener[]
  readonly inherited: InheritedSockets | undefined
  readonly dns: DnsProxy | undefined
  readonly broker: Broker
  readonly keySets: KeySets
  readonly remoteKeys: RemoteKeys
  readonly upstreams: Pick<HttpUpstreams, 'clusterStatus'>
  readonly acls: AclFiles
  readonly bridge: Bridge
  readonly spool: Spool
  readonly workload: HealthChecker | undefined
  /** Why the admin port is not open. */
  readonly adminError: () => MeshError | undefined
  readonly isDraining: () => boolean
  /** Free bytes of the disk that holds the state folder. Throws the system's error. */
  readonly freeBytes: () => number
  /** Throws the system's error. */
  readonly hasFile: (file: string) => boolean
}
