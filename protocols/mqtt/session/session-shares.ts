/**
 * Who has how many of the sessions that there may be, and who gives way when there are no more. A share belongs to who
 * was proved, else to the address that the session was made from. Sessions that nobody uses go first: without a
 * connection, and without anything that was subscribed, waits or has to be remembered. Then the largest share gives way
 * to a smaller one, as long as it has sessions for which nothing waits. Else the newcomer is refused: what was
 * acknowledged is never given up for somebody new.
 */
import { MeshError } from '../../../core/errors.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { QueueShare } from '../durability.ts'
import type { Session } from './session.ts'

type Limits = Pick<MqttPolicy['limits'], 'maxSessions' | 'maxSessionsPerPrincipal' | 'maxSessionsPerAddress'> & {
  /** mqtt.quotas[].maxSessions of whose share it is. */
  readonly quota?: number | undefined
}
type Share = {
  sessions: number
  /** What waits for them. */
  readonly queued: QueueShare
  /** Without a connection, the longest first. */
  readonly away: Set<Session>
  /** Those of them that nobody uses. */
  readonly unused: Set<Session>
}
export type Ending = (session: Session, why: 'unused' | 'share') => void

/** So many are looked at: a share may have any number of sessions for which something waits. */
const MAX_LOOKS = 16

export class SessionShares {
  readonly #shares = new Map<string, Share>()
  readonly #unused = new Set<Session>()
  #largest: Share | undefined
  /** It has shrunk, so another may be larger. */
  #isStale = false
  #size = 0

  /** Those that are being made included. */
  get size(): number {
    return this.#size
  }

  count(key: string): number {
    return this.#shares.get(key)?.sessions ?? 0
  }
  findQueued(key: string): QueueShare | undefined {
    return this.#shares.get(key)?.queued
  }
  enter(key: string): void {
    const share = this.#shares.get(key) ?? {
      sessions: 0,
      queued: { bytes: 0, maxBytes: Infinity },
      away: new Set(),
      unused: new Set(),
    }
    this.#shares.set(key, share)
    share.sessions++
    this.#size++
    if (!this.#largest || share.sessions > this.#largest.sessions) this.#largest = share
  }
  leave(key: string): void {
    const share = this.#shares.get(key)
    if (!share) return
    this.#size--
    if (--share.sessions === 0) this.#shares.delete(key)
    if (this.#largest === share) this.#isStale = true
  }
  /** The session has no connection any more. */
  noteAway(session: Session, isUsed: boolean): void {
    this.noteBack(session)
    const share = this.#shares.get(session.share)
    share?.away.add(session)
    if (isUsed) return
    share?.unused.add(session)
    this.#unused.add(session)
  }
  /** It has one, or has ended. */
  noteBack(session: Session): void {
    const share = this.#shares.get(session.share)
    share?.away.delete(session)
    share?.unused.delete(session)
    this.#unused.delete(session)
  }

  /**
   * For one session more.
   * @param isBusy whether somebody is about to take the session
   * @throws MESH_MQTT_QUOTA
   */
  makeRoom(key: string, limits: Limits, isBusy: (session: Session) => boolean, end: Ending): void {
    const mine = (): number => this.count(key)
    const { setting, most } = this.#bound(key, limits)
    // More than one only after a limit was lowered.
    for (let ends = 0; ends < MAX_LOOKS && mine() >= most; ends++) {
      const unused = first(this.#shares.get(key)?.unused, (one) => !isBusy(one))
      if (!unused) throw new MeshError('MESH_MQTT_QUOTA', `${mine()} sessions belong to ${key} (${setting})`)
      end(unused, 'unused')
    }
    for (let ends = 0; ends < MAX_LOOKS && this.#size >= limits.maxSessions; ends++) {
      const unused = first(this.#unused, (one) => !isBusy(one))
      const victim = unused ?? this.#ofLargest(mine(), isBusy)
      if (!victim)
        throw new MeshError(
          'MESH_MQTT_QUOTA',
          `${limits.maxSessions} sessions are open or kept (mqtt.limits.maxSessions)`,
        )
      end(victim, unused ? 'unused' : 'share')
    }
  }

  /** Without a setting half of the table, once three quarters of it are taken. */
  #bound(
    key: string,
    { maxSessions, maxSessionsPerPrincipal, maxSessionsPerAddress, quota = Infinity }: Limits,
  ): { readonly setting: string; readonly most: number } {
    const [setting, said] = key.startsWith('address ')
      ? (['mqtt.limits.maxSessionsPerAddress', maxSessionsPerAddress] as const)
      : (['mqtt.limits.maxSessionsPerPrincipal', maxSessionsPerPrincipal] as const)
    const most = said ?? (this.#size * 4 >= maxSessions * 3 ? Math.ceil(maxSessions / 2) : Infinity)
    return quota < most ? { setting: 'mqtt.quotas[].maxSessions', most: quota } : { setting, most }
  }
  #ofLargest(mine: number, isBusy: (session: Session) => boolean): Session | undefined {
    if (this.#isStale)
      for (const share of this.#shares.values()) if (share.sessions > this.#largest!.sessions) this.#largest = share
    this.#isStale = false
    if (!this.#largest || this.#largest.sessions <= mine + 1) return undefined
    return first(this.#largest.away, (one) => !isBusy(one) && one.isIdle)
  }
}

function first(of: Set<Session> | undefined, fits: (one: Session) => boolean): Session | undefined {
  let looks = 0
  for (const one of of ?? []) {
    if (fits(one)) return one
    if (++looks >= MAX_LOOKS) return undefined
  }
  return undefined
}
