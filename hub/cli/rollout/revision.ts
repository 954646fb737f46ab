/** `meshlet-hub revision list|show|diff|check|who` */
import { systemClock } from '../../../core/os/clock.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintable, toPrintableAll } from '../../../core/printable.ts'
import { ResourcesFolder, type FolderFound } from '../../source/folder.ts'
import { readConfig } from '../open.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import { formatDate, formatTable } from '../table.ts'

type Options = HubOptions & { readonly json: boolean }

export async function listRevisions(o: Options, io: Io): Promise<ExitCode> {
  const found = await withOperations(o, io, ({ revisions }) => revisions.list())
  const rows = found.rows.map((row) => ({ ...row, use: row.use.join(', ') }))
  if (o.json) {
    io.out(`${JSON.stringify({ revisions: rows, folder: found.folder })}\n`)
    return 0
  }
  const folder = toPrintableAll(found.folder)
  io.out(
    formatTable(
      ['REVISION', 'TAKEN', 'FILES', 'RESOURCES', 'BYTES', 'USE'],
      rows.map((row) => [
        row.id,
        formatDate(row.takenMs),
        String(row.files),
        String(row.resources),
        String(row.bytes),
        row.use,
      ]),
    ),
  )
  if (folder.held !== '')
    io.err(
      `meshlet-hub: the folder's revision ${folder.revision} is not rolled out: ${folder.held}; meshlet-hub rollout start --to ${folder.revision} does it all the same\n`,
    )
  for (const problem of folder.problems) io.err(`meshlet-hub: the folder is no revision: ${problem}\n`)
  return 0
}

/** Rejects with MESH_CONFIG_INVALID when there is none, as all that follow. */
export async function showRevision(text: string, o: Options, io: Io): Promise<ExitCode> {
  const { row, files } = await withOperations(o, io, ({ revisions }) => revisions.show(text))
  if (o.json) io.out(`${JSON.stringify({ ...row, paths: files })}\n`)
  else
    io.out(
      `${toPrintable(row.id)}, taken ${formatDate(row.takenMs)}\n${formatTable(
        ['FILE', 'RESOURCES', 'SHA-256'],
        files.map(({ path, resources, source }) => [path, String(resources), source]),
      )}`,
    )
  return 0
}

export async function printDifferences(from: string, to: string, o: Options, io: Io): Promise<ExitCode> {
  const { before, after, diffs, isCut } = await withOperations(o, io, ({ revisions }) => revisions.compare(from, to))
  const [a, b] = [toPrintable(before), toPrintable(after)]
  if (o.json) io.out(`${JSON.stringify(diffs)}\n`)
  for (const { path, what, lines } of o.json ? [] : diffs)
    io.out(
      `--- ${a} ${toPrintable(path)}\n+++ ${b} ${toPrintable(path)} (${what})\n${lines.map((line) => `${toPrintable(line)}\n`).join('')}`,
    )
  if (isCut)
    io.err(
      'meshlet-hub: there is more than an answer of the API holds; on the machine of the hub, it is printed whole\n',
    )
  return 0
}

/** @param folder undefined: that of hub.yaml. @returns 1 when it is no revision */
export async function checkRevision(folder: string | undefined, o: Options, io: Io): Promise<ExitCode> {
  const found: FolderFound[] = []
  using _opened = await ResourcesFolder.open({
    folder: folder ?? readConfig(o).resources,
    clock: systemClock,
    onFound: (one) => found.push(one),
  })
  const [first] = found
  if (first?.kind !== 'revision') {
    const problems = first?.problems ?? []
    if (o.json) io.out(`${JSON.stringify({ valid: false, problems })}\n`)
    else io.out(problems.map((problem) => `${toPrintable(problem)}\n`).join(''))
    return 1
  }
  const { id, files } = first.revision
  const resources = files.reduce((sum, { content }) => sum + content.resources.length, 0)
  if (o.json) io.out(`${JSON.stringify({ valid: true, id, files: files.length, resources })}\n`)
  else io.out(`${id}: ${files.length} file(s), ${resources} resource(s), no mistakes\n`)
  return 0
}

/** @param text of one revision only, whoever has it or is to have it */
export async function printWho(text: string | undefined, o: Options, io: Io): Promise<ExitCode> {
  const rows = await withOperations(o, io, ({ revisions }) => revisions.who(text))
  if (o.json) io.out(`${JSON.stringify(rows)}\n`)
  else
    io.out(
      formatTable(
        ['DEVICE', 'HAS', 'IS TO HAVE', 'STATE', 'REFUSES'],
        rows.map((row) => [
          row.name,
          row.inForce ?? '-',
          row.desired ?? '-',
          row.connected ? 'connected' : 'gone',
          toPrintable(row.refused ?? '').slice(0, 200),
        ]),
      ),
    )
  return 0
}
