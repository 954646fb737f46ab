/** `meshlet-hub audit` */
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'
import { withOperations, type HubOptions } from './operations/open.ts'
import { formatDate, formatTable } from './table.ts'

export type AuditOptions = HubOptions & {
  readonly output: 'table' | 'json'
  readonly last: number
  readonly of?: string
}

/** Oldest first, so that the newest stands above the prompt. */
export async function printAudit(o: AuditOptions, io: Io): Promise<ExitCode> {
  const rows = await withOperations(o, io, ({ people }) => people.audit({ subject: o.of, most: o.last }))
  if (o.output === 'json')
    io.out(`${JSON.stringify(rows.map(({ atMs, ...r }) => ({ at: new Date(atMs).toISOString(), ...r })))}\n`)
  else
    io.out(
      formatTable(
        ['WHEN', 'WHO', 'WHAT', 'ABOUT', 'FROM', 'DETAIL'],
        rows.map((r) => [formatDate(r.atMs), r.actor, r.event, r.subject, r.address || '-', r.detail]),
      ),
    )
  return 0
}
