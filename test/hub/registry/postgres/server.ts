/** Debian's PostgreSQL in a folder of its own, as a user without rights where the tests are root's. */
import { execFile, execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { promisify } from 'node:util'
import path from 'node:path'
import { systemClock, systemRandom } from '../../../../core/os/clock.ts'
import { silentLog } from '../../../../core/log.ts'
import { openPostgres } from '../../../../hub/registry/postgres/postgres.ts'
import type { PostgresSettings } from '../../../../hub/registry/postgres/settings.ts'
import type { Store } from '../../../../hub/registry/sql.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
export type PostgresServer = {
  /** A database of its own with each call. */
  settings(over?: Partial<PostgresSettings>): PostgresSettings
  readonly host: string
  start(): Promise<void>
  stop(mode: 'fast' | 'immediate'): Promise<void>
}

const UNPRIVILEGED = 65_534

/** Folder of the newest version's programs; undefined: Debian's package `postgresql` is not installed. */
export function findPostgres(): string | undefined {
  return fs.globSync('/usr/lib/postgresql/*/bin/postgres').sort().map(path.dirname).at(-1)
}

/** Over TCP at 127.0.0.1 with TLS and a password; the socket trusts whoever reaches it. */
export type OverTcp = {
  readonly port: number
  readonly password: string
  readonly certPem: string
  readonly keyPem: string
}

export async function startPostgres(t: Finally, bin: string, tcp?: OverTcp): Promise<PostgresServer> {
  // Before its folder is gone: hooks run in the order in which they came.
  let stop = async (): Promise<void> => {}
  t.after(() => stop())
  const folder = temporaryFolder(t)
  const [data, log] = [`${folder}/data`, `${folder}/log`]
  fs.chmodSync(folder, 0o777)
  const as = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}
  const call = (program: string, ...args: string[]) =>
    promisify(execFile)(path.join(bin, program), args, { ...as, cwd: folder, env: { LC_ALL: 'C', PATH: bin } })
  const write = (name: string, text: string): string => {
    const file = `${folder}/${name}`
    fs.writeFileSync(file, text, { mode: 0o600 })
    if (as.uid !== undefined) fs.chownSync(file, as.uid, as.gid)
    return file
  }
  const access = tcp
    ? ['--auth-local=trust', '--auth-host=scram-sha-256', `--pwfile=${write('password', tcp.password)}`]
    : ['-A', 'trust']
  await call('initdb', '-D', data, '-U', 'meshlet', ...access, '-E', 'UTF8', '--no-sync', '--no-instructions')
  fs.appendFileSync(
    `${data}/postgresql.conf`,
    `listen_addresses = '${tcp ? '127.0.0.1' : ''}'\nunix_socket_directories = '${folder}'\nshared_buffers = 16MB\nmax_connections = 60\n`,
  )
  if (tcp)
    fs.appendFileSync(
      `${data}/postgresql.conf`,
      `port = ${tcp.port}\nssl = on\nssl_cert_file = '${write('cert', tcp.certPem)}'\nssl_key_file = '${write('key', tcp.keyPem)}'\n`,
    )
  const control = (...args: string[]) => call('pg_ctl', '-D', data, '-w', ...args)
  const server: PostgresServer = {
    host: folder,
    start: async () => void (await control('start', '-l', log)),
    stop: async (mode) => void (await control('stop', '-m', mode)),
    settings: (over = {}) => {
      const name = `d${databases++}`
      execFileSync(
        path.join(bin, 'createdb'),
        ['-h', folder, '-p', String(tcp?.port ?? 5_432), '-U', 'meshlet', name],
        { stdio: 'ignore' },
      )
      const url = tcp
        ? `postgres://meshlet@127.0.0.1:${tcp.port}/${name}`
        : `postgres:///${name}?host=${folder}&user=meshlet`
      return { url, maxConnections: 5, statementMs: 5_000, ...over }
    },
  }
  await server.start()
  stop = () => server.stop('immediate').catch(() => {})
  return server
}
let databases = 0

export const openStore = (settings: PostgresSettings): Promise<Store> =>
  openPostgres(settings, { clock: systemClock, random: systemRandom, log: silentLog })
