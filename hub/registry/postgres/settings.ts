/** Where the database is and how it is spoken to: `store` of hub.yaml as package pg wants it. */
import fs from 'node:fs'
import { checkServerIdentity } from 'node:tls'
import type { ClientConfig } from 'pg'
import pgpass from 'pgpass'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { MeshError } from '../../../core/errors.ts'

export type PostgresSettings = {
  /** `postgres://USER@HOST:PORT/DATABASE?sslmode=…&sslrootcert=FILE`, or `postgres:///DATABASE?host=/FOLDER&user=USER`. */
  readonly url: string
  /** Undefined: PGPASSFILE, or none. */
  readonly passwordFile?: string | undefined
  readonly maxConnections: number
  readonly statementMs: number
}

const CONNECT_MS = 5_000
const PARAMETERS = new Set(['sslmode', 'sslrootcert', 'host', 'user'])
const MAX_PASSWORD_BYTES = 4_096

/** For people and logs. */
export function describeUrl(url: string): string {
  const parsed = URL.parse(url)
  return parsed ? `${parsed.protocol}//${parsed.host}${parsed.pathname}` : 'the store'
}

/** Throws MESH_CONFIG_INVALID, without the URL: it may hold a password. */
export function toClientConfig({ url: text, passwordFile, statementMs }: PostgresSettings): ClientConfig {
  const url = URL.parse(text)
  if (!url || !/^postgres(?:ql)?:$/.test(url.protocol)) throw refuse('is no URL postgres://USER@HOST/DATABASE')
  if (url.password !== '') throw refuse('holds a password: put it into a file and name that as store.passwordFile')
  const unknown = [...url.searchParams.keys()].find((name) => !PARAMETERS.has(name))
  if (unknown !== undefined) throw refuse(`has the parameter ${unknown}; sslmode, sslrootcert, host and user are taken`)
  const host = decodeURIComponent(url.hostname.replaceAll(/[[\]]/g, '')) || (url.searchParams.get('host') ?? '')
  const database = decodeURIComponent(url.pathname.slice(1))
  if (host === '' || database === '') throw refuse('names no host or no database')
  const port = url.port === '' ? 5_432 : Number(url.port)
  const user = decodeURIComponent(url.username) || (url.searchParams.get('user') ?? 'meshlet')
  const of = { host, port, database, user }
  return {
    ...of,
    application_name: 'meshlet-hub',
    // Read for each connection: a password that is changed needs no restart.
    password: () => (passwordFile === undefined ? askPassFile(of) : readPassword(passwordFile)),
    ...readTls(url.searchParams, host),
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: statementMs,
    options: `-c lock_timeout=${statementMs}`,
    idle_in_transaction_session_timeout: 2 * statementMs,
    // A database that went away without a word.
    query_timeout: 2 * statementMs,
  }
}

function readTls(parameters: URLSearchParams, host: string): Pick<ClientConfig, 'ssl'> {
  const isHere = host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
  const mode = parameters.get('sslmode') ?? (isHere ? 'disable' : 'verify-full')
  if (mode === 'disable') {
    if (!isHere) throw refuse('asks for sslmode=disable, which is for a database on this machine only')
    return { ssl: false }
  }
  if (mode !== 'verify-full') throw refuse(`has sslmode=${mode}; verify-full and disable are taken`)
  const file = parameters.get('sslrootcert')
  return {
    ssl: {
      ...(file === null ? {} : { ca: readFile(file, 'sslrootcert') }),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      // Package pg says no name where the host is an address.
      checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
    },
  }
}

/** Not by package pg itself, which will read no such file any more. */
async function askPassFile(of: Parameters<typeof pgpass>[0]): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  pgpass(of, guard('hub', doNothing, resolve))
  return (await promise) ?? ''
}
function readPassword(file: string): string {
  const text = readFile(file, 'store.passwordFile')
  if (text.length > MAX_PASSWORD_BYTES) throw refuse(`has a passwordFile of more than ${MAX_PASSWORD_BYTES} bytes`)
  return text.replace(/\r?\n$/, '')
}
function readFile(file: string, what: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${what}: ${file} cannot be read`, { cause })
  }
}
const refuse = (what: string): MeshError => new MeshError('MESH_CONFIG_INVALID', `the URL of the store ${what}`)
