/** `meshlet-hub sessions` and `sessions end` */
import type { ExitCode } from '../../../core/cli/exit.ts'
import { MeshError } from '../../../core/errors.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { describeGrants } from '../../console/access.ts'
import type { Io } from '../io.ts'
import { noteByOperator, runTransaction, withState } from '../open.ts'
import { formatDate, formatTable } from '../table.ts'

export type ListOptions = { readonly config: string; readonly json: boolean }
export type EndOptions = { readonly config: string }

export async function listSessions(o: ListOptions, io: Io): Promise<ExitCode> {
  const nowMs = systemClock.wallMs()
  const all = await withState(o, ({ registry }) => registry.sessions.all())
  const live = all.filter(({ endsMs }) => endsMs > nowMs)
  if (o.json) io.out(`${JSON.stringify(live.map((one) => ({ ...one, hash: undefined })))}\n`)
  else
    io.out(
      formatTable(
        ['WHO', 'NAME', 'MAY', 'BY', 'FROM', 'SINCE', 'SEEN', 'ENDS'],
        live.map((s) => [
          s.operator,
          s.name,
          describeGrants(s.grants),
          s.via,
          s.address,
          formatDate(s.createdMs),
          formatDate(s.seenMs),
          formatDate(s.endsMs),
        ]),
      ),
    )
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when they have none. */
export async function endSessions(who: string, o: EndOptions, io: Io): Promise<ExitCode> {
  const ended = await runTransaction(o, async (tx) => {
    const n = await tx.sessions.endOf(who)
    if (n === 0)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${JSON.stringify(who)} has no session; meshlet-hub sessions shows who has (e.g. operator:root)`,
      )
    await noteByOperator(tx, io, { event: 'console.ended', subject: who, detail: `${n} session(s) and links` })
    return n
  })
  io.out(`ended: ${ended} session(s) and unused links of ${who}; pages that are open stop within seconds\n`)
  return 0
}
