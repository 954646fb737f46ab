/** What carries a stream, as whoever keeps one sees it. */
import type { MeshError } from '../../core/errors.ts'
import type { WorkloadHealth } from '../../model/readiness-probe.ts'
import type { ResourceKind } from '../../model/snapshot.ts'
import type { AdsRequest, AdsResponse } from './protocol.ts'

/** One open stream, whatever carries it. */
export interface AdsStream {
  send(request: AdsRequest): void
  /** Tells of the workload's health (Istio's HealthInformation); absent where nobody wants to know. */
  sendHealth?(health: WorkloadHealth): void
  /** Until `resume` no more is read than one message, or a window; absent where nothing comes by itself. */
  pause?(): void
  resume?(): void
  close(): void
}
export type AdsStreamEvents = {
  readonly onResponse: (response: AdsResponse) => void
  readonly onEnd: (reason: MeshError) => void
}
/**
 * Opens a stream to the next of the configured addresses. Rejects when there is nothing to open it with
 * (MESH_NO_IDENTITY, MESH_TOKEN_INVALID).
 */
export interface AdsTransport {
  readonly address: string
  /** Kinds that the next stream's server is known not to serve. */
  readonly without?: ReadonlySet<ResourceKind>
  /**
   * After a good stream that the other side has ended, the next is opened within this time, at any moment of it: all who
   * were connected come back at once otherwise. Left out: AFTER_GOOD_STREAM_MS (errors.ts).
   */
  readonly returnWithinMs?: number
  open(events: AdsStreamEvents): Promise<AdsStream>
}
/** A stream that lasted so long was a good one: its end is no failure, and the next begins with the shortest wait. */
export const GOOD_STREAM_MS = 10_000
