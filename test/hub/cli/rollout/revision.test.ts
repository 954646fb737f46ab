import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { makeCluster } from '../../source/resource-files.ts'
import { makeHubWithRevisions } from './hub-with-revisions.ts'

test('revision check says what is wrong, with file, line and field, and whether it could be taken', async (t) => {
  const { cli, folder, config } = await makeHubWithRevisions(t)
  const good = await cli('revision', 'check', '-c', config)
  assert.equal(good.code, 0)
  assert.match(good.out, /^[0-9a-f]{16}: 2 file\(s\), 2 resource\(s\), no mistakes\n$/)
  fs.writeFileSync(`${folder}/resources/a.yaml`, makeCluster('a', 'soon'))
  const bad = await cli('revision', 'check', '-c', config)
  assert.equal(bad.code, 1)
  assert.match(bad.out, /^a\.yaml line \d+: Cluster "a", connect_timeout/)
  const json = JSON.parse((await cli('revision', 'check', '--json', '-c', config)).out) as { valid: boolean }
  assert.equal(json.valid, false)
  assert.match((await cli('revision', 'check', '/nowhere', '-c', config)).err, /no readable folder \/nowhere/)
})

test('revision list, show and diff', async (t) => {
  const { cli, config, first, second } = await makeHubWithRevisions(t)
  const list = await cli('revision', 'list', '-c', config)
  assert.match(list.out, new RegExp(`${second} .* in force for all, in the folder`))
  assert.match(list.out, new RegExp(`${first} `))
  const show = await cli('revision', 'show', second.slice(0, 8), '-c', config)
  assert.match(show.out, /b\.yaml +1 +[0-9a-f]{64}/)
  const diff = await cli('revision', 'diff', first, second, '-c', config)
  assert.match(diff.out, /\+\+\+ .* a\.yaml \(changed\)[\s\S]*-  connect_timeout: 2s\n\+  connect_timeout: 3s/)
  assert.match(diff.out, /b\.yaml \(added\)/)
  assert.match((await cli('revision', 'show', 'nothing', '-c', config)).err, /MESH_CONFIG_INVALID.*is no revision/)
})

test('revision who: what each device has and is to have', async (t) => {
  const { cli, config, second, registry } = await makeHubWithRevisions(t)
  await registry.devicesChanged(
    [{ name: 'gw-1', connectedMs: 1, lastSeenMs: 1, inForce: 'old', inForceMs: 1, refused: 'Cluster "x"\u001b[2J' }],
    1,
  )
  const who = await cli('revision', 'who', '-c', config)
  assert.match(who.out, new RegExp(`gw-1 +old +${second} +connected +Cluster "x"\\\\u001b`))
  const rows = JSON.parse((await cli('revision', 'who', second, '--json', '-c', config)).out) as { desired: string }[]
  assert.equal(rows[0]!.desired, second)
})
