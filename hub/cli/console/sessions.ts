/** `meshlet-hub sessions` and `sessions end` */
import type { ExitCode } from '../../../core/cli/exit.ts'
import { describeGrants } from '../../console/access.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import { formatDate, formatTable } from '../table.ts'

export type ListOptions = HubOptions & { readonly json: boolean }
export type EndOptions = HubOptions

export async function listSessions(o: ListOptions, io: Io): Promise<ExitCode> {
  const live = await withOperations(o, io, ({ people }) => people.sessions())
  if (o.json) io.out(`${JSON.stringify(live)}\n`)
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
  const ended = await withOperations(o, io, ({ people }) => people.endSessions(who))
  io.out(`ended: ${ended} session(s) and unused links of ${who}; pages that are open stop within seconds\n`)
  return 0
}
