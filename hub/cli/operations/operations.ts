/**
 * What the commands do at a hub, whichever way they reach it: beside it through its registry (local-*.ts), or from another
 * machine over its API (remote-*.ts). What they print is made of this alone, so both print the same.
 */
import type { CommandAnswer, CommandName } from '../../../model/fleet/command.ts'
import type { RolloutItem } from '../../console/rollout-schemas.ts'
import type { Verb } from '../../enrollment/decisions.ts'
import type { ListedEnrollment } from '../../enrollment/list.ts'
import type { AuditRow } from '../../registry/audit.ts'
import type { Session } from '../../registry/console-sessions.ts'
import type { DeviceEventRow } from '../../registry/device-events.ts'
import type { Labels } from '../../registry/enrollments.ts'
import type { ManifestFile, RevisionRow } from '../../registry/rollout/revisions.ts'
import type { FolderState, RolloutRecord } from '../../registry/rollout/rollouts.ts'
import type { describeTokenState, TokenRow } from '../../registry/rows.ts'
import type { FleetRow } from '../../reports/fleet-row.ts'
import type { DescribedDevice } from '../../reports/list-fleet.ts'
import type { RolloutStatus } from '../../reports/rollout-status.ts'
import type { FileDiff } from '../../rollout/diff.ts'
import type { DeviceRevision } from '../../rollout/who.ts'

export type FleetAsked = {
  readonly where?: string | undefined
  readonly labels: Labels
  /** The first so many, by name. */
  readonly most?: number | undefined
}
export type FleetFound = {
  readonly rows: readonly FleetRow[]
  /** Of those that were asked for, more than `rows` where that is cut. */
  readonly found: number
  /** Whether somebody knows who is connected; `why` says what no hub does otherwise. */
  readonly hub: { readonly isThere: boolean; readonly why: string }
}
export type EventsFound = {
  readonly events: readonly DeviceEventRow[]
  /** Where to go on. */
  readonly newest: number
  /** There are more at once. */
  readonly isFull: boolean
}
export type DeviceOperations = {
  /** Rejects with MESH_CONFIG_INVALID where `where` cannot be understood. */
  list(asked: FleetAsked): Promise<FleetFound>
  /** Undefined: none of this name has connected. */
  describe(name: string): Promise<DescribedDevice | undefined>
  enrollments(): Promise<readonly ListedEnrollment[]>
  /** @returns what happened. Rejects with MESH_CONFIG_INVALID when there is nothing to decide. */
  decide(verb: Verb, name: string, keyId?: string): Promise<string>
  /** Rejects with what `askDevice` rejects with. */
  ask(name: string, command: CommandName, lines: number): Promise<CommandAnswer>
  events(since: { readonly after: number } | { readonly last: number }, labels: Labels): Promise<EventsFound>
}

export type TokenWish = {
  readonly namespace: string
  readonly serviceAccount: string
  readonly ttlSec: number | undefined
  readonly maxUses: number | undefined
  readonly cidrs: readonly string[]
  readonly labels: Labels
  readonly approval: boolean
}
export type MadeToken = {
  readonly id: string
  readonly name: string
  readonly token: string
  readonly expires: string
}
export type ListedToken = Omit<TokenRow, 'hash'> & {
  readonly devices: readonly string[]
  readonly state: ReturnType<typeof describeTokenState>
}
export type RevokedToken = Pick<TokenRow, 'jti' | 'namespace' | 'serviceAccount' | 'uses'> & {
  /** Some of them. */
  readonly devices: readonly string[]
  readonly deviceCount: number
}
export type TokenOperations = {
  /** One a name. @param keep what it throws leaves none of them valid */
  create(
    wish: TokenWish,
    names: readonly string[],
    keep: (made: readonly MadeToken[]) => void,
  ): Promise<readonly MadeToken[]>
  list(): Promise<readonly ListedToken[]>
  /** Rejects with MESH_CONFIG_INVALID when there is no such token. */
  revoke(id: string): Promise<RevokedToken>
}

export type RolloutWish = {
  readonly to: string
  readonly labels: Labels
  readonly device: string | undefined
  readonly waves: string | undefined
  readonly halt: string | undefined
  readonly soakSec: number | undefined
  readonly awaySec: number | undefined
  readonly now: boolean
  readonly why: string | undefined
}
export type RolloutChange = 'pause' | 'resume' | 'abort' | 'undo'
export type RolloutOperations = {
  /** These reject with MESH_CONFIG_INVALID when it is not their turn. */
  start(wish: RolloutWish): Promise<RolloutItem>
  change(what: RolloutChange, why: string | undefined): Promise<RolloutItem>
  status(): Promise<RolloutStatus>
  list(): Promise<readonly RolloutRecord[]>
}

export type UsedRevision = RevisionRow & { readonly use: readonly string[] }
/** A revision is named by its id, or how that begins; MESH_CONFIG_INVALID when it is not clear which is meant. */
export type RevisionOperations = {
  list(): Promise<{ readonly rows: readonly UsedRevision[]; readonly folder: FolderState }>
  show(id: string): Promise<{ readonly row: RevisionRow; readonly files: readonly ManifestFile[] }>
  compare(before: string, after: string): Promise<ComparedRevisions>
  who(id: string | undefined): Promise<readonly DeviceRevision[]>
}
export type ComparedRevisions = {
  readonly before: string
  readonly after: string
  readonly diffs: readonly FileDiff[]
  /** There is more. */
  readonly isCut: boolean
}

export type ListedSession = Omit<Session, 'hash'>
export type PeopleOperations = {
  /** The newest so many, oldest first. */
  audit(asked: { readonly subject: string | undefined; readonly most: number }): Promise<readonly AuditRow[]>
  sessions(): Promise<readonly ListedSession[]>
  /** @returns how many, links that are not used among them. Rejects with MESH_CONFIG_INVALID when they have none. */
  endSessions(operator: string): Promise<number>
}

export type Operations = {
  readonly devices: DeviceOperations
  readonly tokens: TokenOperations
  readonly rollouts: RolloutOperations
  readonly revisions: RevisionOperations
  readonly people: PeopleOperations
}
