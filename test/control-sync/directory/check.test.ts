import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { systemClock } from '../../../core/os/clock.ts'
import { TimeSlice } from '../../../core/os/time-slice.ts'
import { checkContents, checkFolder } from '../../../control-sync/directory/check.ts'
import { listOwnMessages } from '../../../control-sync/directory/known.ts'
import { parseFile } from '../../../control-sync/directory/parse.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { makeCluster, makeRoutes } from '../../hub/source/resource-files.ts'

const check = (files: Readonly<Record<string, string>>) =>
  checkContents(
    Object.entries(files).map(([file, text]) => ({
      file,
      content: parseFile(file, text, () => undefined, listOwnMessages()),
    })),
    new TimeSlice(systemClock),
  )

test('folders are told apart, and what one of them has is not missing in another', async () => {
  const { folders, problems } = await check({
    'a.yaml': makeRoutes('web', 'local'),
    'gw-1/b.yaml': makeCluster('local'),
    'gw-2/b.yaml': makeCluster('local'),
  })
  assert.deepEqual(problems, [])
  assert.deepEqual([...folders.keys()], ['', 'gw-1', 'gw-2'])
  assert.ok(folders.get('gw-2')!.get('cluster')!.has('local'))
})

test('what stands twice in a folder, what exists nowhere, and what a file itself has wrong', async () => {
  const { problems } = await check({
    'a.yaml': makeCluster('a'),
    'b.yaml': makeCluster('a'),
    'c.yaml': makeRoutes('web', 'nowhere'),
    'gw-1/d.yaml': makeCluster('a', 'soon'),
  })
  assert.equal(problems.length, 3)
  for (const found of [
    /b\.yaml.*stands in a\.yaml/,
    /"web" names the cluster "nowhere"/,
    /gw-1\/d\.yaml.*connect_timeout/,
  ])
    assert.ok(problems.some((problem) => found.test(problem)))
})

test('a folder on disk: what is in it, and what refers to nothing', async (t) => {
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/a.yaml`, makeCluster('a'))
  fs.writeFileSync(`${folder}/b.yaml`, makeRoutes('web', 'nowhere'))
  const { counts, problems } = await checkFolder(folder, undefined)
  assert.deepEqual(counts, { cluster: 1, route: 1 })
  assert.match(problems.join(), /b\.yaml line 2: route "web" names the cluster "nowhere"/)
})
