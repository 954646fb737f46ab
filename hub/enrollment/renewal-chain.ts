/**
 * Whether a renewal follows the last one. Each answer carries a counter and a value that nobody can guess, and the next
 * request repeats both: of two copies of one device, the second to renew repeats what has been used. An answer may get
 * lost, so the request before it may be made again, by the one that knows its nonce.
 */
import { createHash } from 'node:crypto'
import type { ChainState } from '../registry/enrollments.ts'

export type RenewalClaims = { readonly counter: number; readonly chain: string; readonly nonce: string }
/** `resync`: taken for what comes next, by an operator's word. */
export type RenewalKind = 'next' | 'repeat' | 'resync' | 'diverged'

export function classifyRenewal(known: ChainState, asked: RenewalClaims): RenewalKind {
  if (asked.counter === known.counter && asked.chain === known.chain) return known.resync ? 'resync' : 'next'
  const repeats =
    asked.counter === known.counter - 1 && asked.chain === known.previousChain && asked.nonce === known.nonce
  if (repeats && !known.resync) return 'repeat'
  return known.resync ? 'resync' : 'diverged'
}

/** @param secret nobody else's, so that the value cannot be made from what was sent */
export function advanceChain(asked: RenewalClaims, secret: Buffer): Omit<ChainState, 'resync'> {
  const chain = createHash('sha256').update(asked.chain).update(asked.nonce).update(secret).digest('base64url')
  return { counter: asked.counter + 1, chain, previousChain: asked.chain, nonce: asked.nonce }
}
