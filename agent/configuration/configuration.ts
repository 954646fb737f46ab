/** Where the configuration comes from: a control plane with the last good snapshot beneath it, or a folder. */
import type { ControlLinkStatus } from '../../control-sync/sync.ts'
import type { ControlPlane } from '../../control-sync/connection/control-plane.ts'
import type { HubRequestsOptions } from '../../control-sync/fleet/hub-requests.ts'
import type { LinkQuality } from '../../control-sync/fleet/relay-link.ts'
import type { Revision } from '../../control-sync/revision-in-force.ts'
import type { Applier } from '../../control-sync/apply.ts'
import type { Current } from '../../core/current.ts'
import type { MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { NamedFiles } from '../../core/os/named-files.ts'
import type { BootSpread } from '../../core/runtime/boot-spread.ts'
import type { World } from '../../core/world.ts'
import type { Report } from '../../model/fleet/report.ts'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'
import type { Tables } from '../../model/tables.ts'
import type { AgentConfig } from '../config/schema.ts'
import type { AgentIdentity } from '../identity.ts'
import type { OwnNode } from '../own-node.ts'
import type { Readiness } from '../readiness.ts'

/** Of agent.yaml, what a hub may ask and reach. */
export type PermittedByControl = Pick<NonNullable<AgentConfig['control']>, 'commands' | 'connect'>
export type Configuration = AsyncDisposable & {
  readonly applier: Applier
  /** Opens the way to the control plane; a folder is open from the start. */
  connect(): void
  link(): ControlLinkStatus
  /** Of the way to a hub's relay; undefined: there is none. */
  quality(): LinkQuality | undefined
  /** Over a relay: tells the hub from now on. Where there is none, nobody is told. */
  startReports(collect: (revision: Revision) => Report): void
  /** Over a relay: carries out what agent.yaml lets the hub ask. */
  answerHub(run: HubRequestsOptions['run']): void
  /** Of control, what the hub may ask and reach from now on. */
  permitHub(control: PermittedByControl): void
  /** Ends the connection to a hub's relay, or the stream of a control plane; the next one follows at once. */
  reconnect(): void
  /** Damage of stored files, found at the start or later. */
  readonly damage: readonly MeshError[]
  /** A control plane knows agents by their certificate. */
  readonly needsIdentity: boolean
  /** Problems in files of the folder, whose last good content stays in force. */
  folderProblems(): readonly MeshError[]
}
export type ConfigurationOptions = {
  readonly config: AgentConfig
  readonly world: World
  readonly metrics: Metrics
  readonly log: Log
  readonly tables: Current<Tables>
  readonly identity: AgentIdentity
  readonly node: OwnNode
  /** Identity that the stored snapshot belongs to. */
  readonly owner: string
  /** Route tables that listeners of agent.yaml name. */
  readonly ownRoutes: Current<ReadonlySet<string>>
  readonly readiness: Readiness
  readonly findProxy?: ControlPlane['findProxy']
  /** Where a configuration of an earlier run serves meanwhile. */
  readonly bootSpread: Pick<BootSpread, 'drawWaitMs'>
  /** Told to a control plane that keeps a WorkloadEntry for this node. */
  readonly health: Current<WorkloadHealth> | undefined
  /** Files of this machine that the control plane may name. */
  readonly files: NamedFiles
  /** Version of the program. */
  readonly version: string
}
