/** `--store`: the registry elsewhere than hub.yaml says, for the hub and for every command. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { withStore, parseHubConfig } from '../../../hub/config.ts'
import { findPostgres, startPostgres } from '../registry/postgres/server.ts'
import { createToken, hubCli } from './hub-cli.ts'

const bin = findPostgres()
const skip = bin === undefined ? "Debian's package postgresql is not installed" : false
const SECRET = 'hunter2'

test('a file: what is made there is there, and not in the state folder; a backup of it comes back to it', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  fs.mkdirSync(`${folder}/elsewhere`)
  const store = ['--store', `${folder}/elsewhere/fleet.db`]
  const create = (name: string) =>
    cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--name', name, ...store)
  assert.equal((await create('gw-1')).code, 0)
  assert.equal(fs.statSync(`${folder}/elsewhere/fleet.db`).mode & 0o777, 0o600)
  assert.ok(!fs.existsSync(`${folder}/state/registry.db`))
  const names = async (...more: string[]): Promise<string[]> =>
    (JSON.parse((await cli('token', 'list', '-c', config, '--json', ...more)).out) as { nodes: string }[])
      .map(({ nodes }) => nodes)
      .sort()
  assert.deepEqual(await names(...store), ['gw-1'])
  assert.equal((await cli('backup', `${folder}/b`, '-c', config, ...store)).code, 0)
  await create('gw-2')
  assert.match((await cli('restore', `${folder}/b`, '-c', config, ...store)).out, /^restored/)
  assert.deepEqual(await names(...store), ['gw-1'])
  assert.ok(!fs.existsSync(`${folder}/state/registry.db`), 'and nowhere else')
})

test('a PostgreSQL, also from a file; hub.yaml keeps its other settings', { skip }, async (t) => {
  const server = await startPostgres(t, bin!)
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  const { url } = server.settings()
  assert.match((await cli('store', 'migrate', '-c', config, '--to', url)).out, /^migrated/)
  assert.match((await cli('token', 'list', '-c', config, '--store', url)).out, /gw-1/)
  assert.ok(!fs.existsSync(`${folder}/state/registry.db`))
  assert.match((await cli('store', 'migrate', '-c', config, '--to', url, '--store', url)).err, /unknown option/)
})

test('what cannot be a store is refused with what to do, and no password is shown again', async (t) => {
  const { cli, config, folder } = hubCli(t)
  for (const [store, said] of [
    [`postgres://u:${SECRET}@db.example/fleet`, /PGPASSFILE or by store\.passwordFile/],
    [`POSTGRES://u:${SECRET}@db.example/fleet`, /PGPASSFILE/],
    [`postgresql://u:${SECRET}@[bad/fleet`, /PGPASSFILE/],
    [`mysql://db/fleet`, /no mysql:\/\//],
    ['', /names neither a file/],
  ] as const) {
    const { code, err } = await cli('token', 'list', '-c', config, '--store', store)
    assert.deepEqual([code === 0, said.test(err), err.includes(SECRET)], [false, true, false], `${store}: ${err}`)
  }
  assert.ok(!fs.existsSync(`${folder}/state/registry.db`))
  const before = parseHubConfig(
    'resources: r\nstore: {url: "postgres:///a?host=/run", passwordFile: p, maxConnections: 3}\n',
  )
  assert.deepEqual(withStore(before, 'postgres:///b?host=/run').store, {
    url: 'postgres:///b?host=/run',
    passwordFile: 'p',
    maxConnections: 3,
    statementMs: 5_000,
  })
  assert.equal(withStore(before, '/srv/x.db').store, undefined)
})

test('every command that reads hub.yaml has it', async (t) => {
  const { cli } = hubCli(t)
  for (const words of [
    'run',
    'devices',
    'token list',
    'device revoke',
    'rollout status',
    'revision who',
    'restore',
    'sessions list',
  ])
    assert.match((await cli(...words.split(' '), '--help')).out, /--store <url>/, words)
})
