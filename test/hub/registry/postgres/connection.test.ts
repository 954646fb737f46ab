/** How a hub gets to Debian's PostgreSQL over TCP: passwords, TLS, and what it asks of a session. */
import { after, test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import type { PostgresSettings } from '../../../../hub/registry/postgres/settings.ts'
import { testCa } from '../../../helpers/test-ca.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { findPostgres, openStore, startPostgres, type PostgresServer } from './server.ts'

const bin = findPostgres()
const skip = bin === undefined ? "Debian's package postgresql is not installed" : false
const PASSWORD = 'a: long\\one'
const ends: (() => void | Promise<void>)[] = []
const whole = { after: (end: () => void | Promise<void>) => void ends.push(end) }
after(async () => {
  for (const end of ends) await end()
})

const ca = testCa()
const files = temporaryFolder(whole)
const put = (name: string, text: string, mode = 0o600): string => {
  fs.writeFileSync(`${files}/${name}`, text, { mode })
  fs.chmodSync(`${files}/${name}`, mode)
  return `${files}/${name}`
}
const roots = put('roots.pem', ca.rootsPem)

let started: Promise<{ readonly server: PostgresServer; readonly port: number }> | undefined
async function start() {
  const port = await findFreePort()
  const { chainPem, keyPem } = ca.issue('db', 'db', { dnsNames: ['127.0.0.1'] })
  return { port, server: await startPostgres(whole, bin!, { port, password: PASSWORD, certPem: chainPem, keyPem }) }
}
async function findFreePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
const TLS = `?sslmode=verify-full&sslrootcert=${roots}`

async function settings(query = TLS, over: Partial<PostgresSettings> = {}): Promise<PostgresSettings> {
  const { server } = await (started ??= start())
  const made = server.settings(over)
  return { ...made, url: made.url + query }
}
type Session = { readonly says?: Record<string, unknown>; readonly refused: string }
/** What a session says of itself, or why there is none. */
async function connect(o: PostgresSettings): Promise<Session> {
  try {
    await using store = await openStore(o)
    const rows = await store.all<Record<string, unknown>>(
      `SELECT s.ssl, s.version, a.application_name AS name, current_setting('statement_timeout') AS statement,
      current_setting('lock_timeout') AS lock, current_setting('idle_in_transaction_session_timeout') AS idle
      FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE pid = pg_backend_pid()`,
    )
    return { says: rows[0]!, refused: '' }
  } catch (thrown) {
    const { code, message: said, cause } = thrown as Error & { code: string }
    const message = `${said} [${(cause as Error | undefined)?.message}]`
    assert.doesNotMatch(message, /long/, 'no password in a message')
    return { refused: `${code} ${message}` }
  }
}
/** As the environment of a process says it. */
async function withPassfile<T>(file: string, work: () => Promise<T>): Promise<T> {
  process.env['PGPASSFILE'] = file
  try {
    return await work()
  } finally {
    delete process.env['PGPASSFILE']
  }
}

test('a session has the password of the file, TLS and the bounds of hub.yaml', { skip }, async () => {
  const passwordFile = put('password', `${PASSWORD}\n`)
  assert.deepEqual((await connect(await settings(TLS, { passwordFile, statementMs: 1_500 }))).says, {
    ssl: true,
    version: 'TLSv1.3',
    name: 'meshlet-hub',
    statement: '1500ms',
    lock: '1500ms',
    idle: '3s',
  })
})

test('PGPASSFILE names the password, as for every program of PostgreSQL', { skip }, async () => {
  const o = await settings()
  const { port } = await started!
  const line = (host: string, password: string): string =>
    `${host}:${port}:*:meshlet:${password.replaceAll(/[:\\]/g, String.raw`\$&`)}\n`
  const good = put('pgpass', `# for the hub\n${line('db.example', 'other')}${line('127.0.0.1', PASSWORD)}`)
  assert.equal((await withPassfile(good, () => connect(o))).refused, '')
  for (const bad of [put('wrong', line('127.0.0.1', 'x')), put('others', line('db.example', PASSWORD)), '/nosuch'])
    assert.match((await withPassfile(bad, () => connect(o))).refused, /^MESH_STORAGE_FAILED /, bad)
  const open = put('open', line('127.0.0.1', PASSWORD), 0o644)
  assert.match((await withPassfile(open, () => connect(o))).refused, /^MESH_STORAGE_FAILED /)
  const passwordFile = put('password', 'x')
  assert.match((await withPassfile(good, () => connect({ ...o, passwordFile }))).refused, /^MESH_STORAGE_FAILED /)
})

test('without a password, or with a wrong one, nobody is let in, and is told', { skip }, async () => {
  assert.match((await connect(await settings())).refused, /^MESH_STORAGE_FAILED /)
  const passwordFile = put('password', 'wrong')
  assert.match(
    (await connect(await settings(TLS, { passwordFile }))).refused,
    /^MESH_STORAGE_FAILED .*password authentication failed/s,
  )
  const missing = '/nosuch'
  assert.match((await connect(await settings(TLS, { passwordFile: missing }))).refused, /nosuch cannot be read/)
})

test('a password that is changed counts for the next connection', { skip }, async () => {
  const passwordFile = put('password', PASSWORD)
  const o = await settings(TLS, { passwordFile })
  await using store = await openStore(o)
  await store.run(`ALTER USER meshlet PASSWORD 'next'`)
  try {
    assert.match((await connect(o)).refused, /^MESH_STORAGE_FAILED /)
    put('password', 'next')
    assert.equal((await connect(o)).refused, '')
  } finally {
    await store.run(`ALTER USER meshlet PASSWORD '${PASSWORD}'`)
  }
})

test('who the database is, is looked at: its root, and its name', { skip }, async () => {
  const passwordFile = put('password', PASSWORD)
  const other = put('other.pem', testCa().rootsPem)
  const strange = await settings(`?sslmode=verify-full&sslrootcert=${other}`, { passwordFile })
  assert.match((await connect(strange)).refused, /^MESH_STORAGE_FAILED /)
  const named = await settings(TLS, { passwordFile })
  assert.match(
    (await connect({ ...named, url: named.url.replace('127.0.0.1', 'localhost') })).refused,
    /^MESH_STORAGE_FAILED .*localhost/s,
  )
  assert.equal((await connect(named)).refused, '')
  const plain = await settings('', { passwordFile })
  assert.equal((await connect(plain)).says?.['ssl'], false, 'on this machine')
})
