/** A client's first bytes, as they wait for the rest of a message that says what it speaks. */
import type { Connection } from '../connection.ts'
import type { Context } from '../context.ts'
import { getWaiting } from '../waiting.ts'
import { sniff, type CountFirstBytes } from './sniff.ts'

/** Until a codec has them they wait in memory, on the client's behalf. */
export const countFirstBytes =
  (client: string, ctx: Context): CountFirstBytes =>
  (giveUp) =>
    getWaiting(ctx).hold({ client, giveUp })

type Question = { readonly mqtt: boolean; readonly onTimeout: 'close' | 'continue' }
/** Where the chain is known, and not what its client speaks. */
export function sniffAgain(conn: Connection, { mqtt, onTimeout }: Question, ctx: Context): ReturnType<typeof sniff> {
  return sniff(conn.stream, {
    interest: { tls: false, http: true, mqtt },
    clock: ctx.clock,
    timeoutMs: ctx.limits.requestHeadMs,
    onTimeout,
    draining: conn.draining,
    hold: countFirstBytes(conn.remote.host, ctx),
  })
}
