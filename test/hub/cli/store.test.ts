/** The registry moves into PostgreSQL, is backed up from there and comes back. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { revokeDevice } from '../../../hub/enrollment/operator.ts'
import { OpenRegistry, openRegistry } from '../../../hub/registry/registry.ts'
import { holdRunning } from '../../../hub/registry/running.ts'
import { findPostgres, openStore, startPostgres } from '../registry/postgres/server.ts'
import { makeRollout } from '../registry/rollout/make-rollout.ts'
import { createToken, hubCli, makeApplicant, type HubCli } from './hub-cli.ts'

const bin = findPostgres()
const skip = bin === undefined ? "Debian's package postgresql is not installed" : false

const listTokens = async ({ cli, config }: HubCli): Promise<string[]> =>
  (JSON.parse((await cli('token', 'list', '-c', config, '--json')).out) as { nodes: string }[])
    .map((t) => t.nodes)
    .toSorted((a, b) => a.localeCompare(b))
test('migrate, backup and restore keep everything, and what was revoked since stays revoked', { skip }, async (t) => {
  const server = await startPostgres(t, bin!)
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  await createToken(m, 'gw-2')
  {
    await using registry = openRegistry(`${folder}/state/registry.db`)
    for (const name of ['gw-1', 'gw-2']) await registry.enrollments.enroll(makeApplicant(name), 5)
  }
  const settings = server.settings()
  const running = holdRunning(`${folder}/state`, undefined)
  assert.match((await cli('store', 'migrate', '-c', config, '--to', settings.url)).err, /MESH_STATE_IN_USE/)
  running[Symbol.dispose]()
  assert.match((await cli('store', 'migrate', '-c', config, '--to', settings.url)).out, /^migrated: \d+ rows/)
  assert.match((await cli('token', 'list', '-c', config)).err, /moved to PostgreSQL: hub\.yaml needs its store/)
  fs.appendFileSync(config, `store: {url: "${settings.url}"}\n`)
  assert.deepEqual(await listTokens(m), ['gw-1', 'gw-2'])
  assert.match((await cli('audit', '-c', config)).out, /token\.created.*\n.*store\.migrated/s)
  await createToken(m, 'gw-3')

  {
    await using registry = new OpenRegistry(await openStore(settings))
    await registry.rollouts.add(makeRollout())
  }
  assert.equal((await cli('backup', `${folder}/b`, '-c', config)).code, 0)
  await createToken(m, 'gw-4')
  {
    await using registry = new OpenRegistry(await openStore(settings))
    await registry.rollouts.update({ ...(await registry.rollouts.active())!, state: 'halted' })
    await revokeDevice(registry, 'gw-2', 9)
    await registry.devicesChanged([], Date.now(), 'a hub')
  }
  assert.match((await cli('restore', `${folder}/b`, '-c', config)).err, /MESH_STATE_IN_USE.*hub runs on the database/)
  {
    await using registry = new OpenRegistry(await openStore(settings))
    await registry.removeReplica('a hub')
  }
  assert.match((await cli('restore', `${folder}/b`, '-c', config)).out, /1 revocation\(s\) of before were kept/)
  assert.deepEqual(await listTokens(m), ['gw-1', 'gw-2', 'gw-3'])
  await using registry = new OpenRegistry(await openStore(settings))
  assert.deepEqual(
    (await registry.enrollments.all()).map((e) => [e.name, e.state, e.resync]),
    [
      ['gw-1', 'active', true],
      ['gw-2', 'revoked', true],
    ],
  )
  assert.equal((await registry.rollouts.get('r1'))?.state, 'halted', 'it is not tried again')
  await createToken(m, 'gw-5') // numbers of the audit log go on

  const alone = hubCli(t)
  assert.match((await alone.cli('restore', `${folder}/b`, '-c', alone.config)).out, /^restored/)
  assert.deepEqual(await listTokens(alone), ['gw-1', 'gw-2', 'gw-3'])
  await using restored = openRegistry(`${alone.folder}/state/registry.db`)
  assert.equal((await restored.rollouts.active())?.state, 'paused')
})

test(
  'a database that has a registry, a URL with a password, and one that nobody answers change nothing',
  { skip },
  async (t) => {
    const server = await startPostgres(t, bin!)
    const settings = server.settings()
    {
      await using registry = new OpenRegistry(await openStore(settings))
      await registry.enrollments.enroll(makeApplicant('gw-9'), 5)
    }
    const m = hubCli(t)
    await createToken(m, 'gw-1')
    for (const [url, why] of [
      [settings.url, /has a registry already \(enrollments\)/],
      ['postgres://u:secret@127.0.0.1/x', /holds a password/],
      [`postgres:///x?host=${server.host}-none`, /MESH_STORAGE_FAILED/],
    ] as const) {
      const { code, err } = await m.cli('store', 'migrate', '-c', m.config, '--to', url)
      assert.deepEqual([code === 0, why.test(err), err.includes('secret')], [false, true, false], err)
    }
    assert.deepEqual(await listTokens(m), ['gw-1'])
  },
)
