/** Tests of the registry on each database that is there: SQLite, and Debian's PostgreSQL where it is installed. */
import { after, test } from 'node:test'
import { OpenRegistry } from '../../../hub/registry/registry.ts'
import { openSqlite } from '../../../hub/registry/sqlite.ts'
import type { Store } from '../../../hub/registry/sql.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { findPostgres, openStore, startPostgres, type PostgresServer } from './postgres/server.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
/** Each call is one more connection to the same, at first empty, database. */
export type Open = () => Promise<Store>

let server: Promise<PostgresServer> | undefined
const bin = findPostgres()
const ends: (() => void | Promise<void>)[] = []
after(async () => {
  for (const end of ends) await end()
})

async function prepare(t: Finally, kind: 'SQLite' | 'PostgreSQL'): Promise<Open> {
  if (kind === 'SQLite') {
    const file = `${temporaryFolder(t)}/registry.db`
    return async () => openSqlite(file)
  }
  server ??= startPostgres({ after: (end) => void ends.push(end) }, bin!)
  const settings = (await server).settings()
  return () => openStore(settings)
}

export function testStores(title: string, work: (open: Open, t: Finally) => Promise<void>): void {
  for (const kind of ['SQLite', 'PostgreSQL'] as const) {
    const skip = kind === 'PostgreSQL' && bin === undefined ? "Debian's package postgresql is not installed" : false
    test(`${title} (${kind})`, { skip }, async (t) => work(await prepare(t, kind), t))
  }
}

export function testRegistry(
  title: string,
  work: (registry: OpenRegistry, open: () => Promise<OpenRegistry>) => Promise<void>,
): void {
  testStores(title, async (open) => {
    const openAnother = async (): Promise<OpenRegistry> => new OpenRegistry(await open())
    await using registry = await openAnother()
    await work(registry, openAnother)
  })
}
