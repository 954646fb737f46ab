/** Why a client is not read from, or its packets are not taken. */

export type PauseReason =
  | 'commits'
  | 'subscriptions'
  | 'acting'
  | 'pings'
  | 'turn'
  | 'rate'
  | 'spool'
  | 'receivers'
  | 'socket'
  | 'connecting'
export interface Reading {
  hold(why: PauseReason): void
  /** @returns whether it was paused for that */
  release(why: PauseReason): boolean
  takePackets(): void
}

/** As bits of one number: a set takes 180 bytes of each client. */
export const BITS: Readonly<Record<PauseReason, number>> = {
  commits: 1,
  subscriptions: 2,
  acting: 4,
  pings: 8,
  turn: 16,
  rate: 32,
  spool: 64,
  receivers: 128,
  socket: 256,
  connecting: 512,
}
/** What waits for the disk, with packets behind it that may not overtake it. */
const ORDERED = BITS.acting | BITS.subscriptions | BITS.pings
/**
 * Pauses that also stop packets of the chunk at hand: they must not overtake a packet that does not act yet, and a
 * filter on its way to the disk takes a hundred times its bytes.
 */
export const STOPPING = ORDERED | BITS.turn | BITS.rate

/** Bytes that may wait behind what the disk has not done yet. */
const MAX_AHEAD_BYTES = 16 * 1024

/** A socket that is not read from does not tell that its client has left, however long the disk takes. */
export function mayReadAhead(pauses: number, heldBytes: number): boolean {
  return (pauses & ~ORDERED) === 0 && heldBytes < MAX_AHEAD_BYTES
}
