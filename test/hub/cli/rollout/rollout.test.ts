import { test } from 'node:test'
import assert from 'node:assert/strict'
import { makeHubWithRevisions } from './hub-with-revisions.ts'

test('a rollout from start to undo, as an operator types it', async (t) => {
  const { cli, config, first, second, registry } = await makeHubWithRevisions(t)
  const run = (...argv: string[]) => cli('rollout', ...argv, '-c', config)
  const started = await run(
    'start',
    '--to',
    first.slice(0, 8),
    '--waves',
    '50%,100%',
    '--soak',
    '0s',
    '--halt',
    'rejected>0',
  )
  assert.equal(started.code, 0, started.err)
  assert.match(started.out, new RegExp(`to ${first} for all: running, wave 1 of 2 \\(50%,100%\\)`))
  assert.match(
    (await run('status')).out,
    new RegExp(`in force for all: ${second}[\\s\\S]*device\\(s\\) are to have it`),
  )
  assert.match((await run('pause', '--why', 'lunch')).out, /paused.*: lunch/)
  assert.match((await run('resume')).out, /running/)
  assert.match((await run('abort', '--why', 'no')).out, /aborted: no/)
  assert.match((await run('start', '--to', first, '--now')).out, /completed: at once/)
  assert.deepEqual((await registry.rollouts.assignments())[0]!.revision, first)
  assert.match((await run('undo')).out, /undone/)
  assert.deepEqual((await registry.rollouts.assignments())[0]!.revision, second)
  assert.match((await run('list')).out, /undone[\s\S]*aborted +operator:/)
  const audit = await cli('audit', '-c', config)
  assert.match(audit.out, /operator:.*rollout\.aborted.*no/)
})

test('what is wrong is named with its place', async (t) => {
  const { cli, config, first } = await makeHubWithRevisions(t)
  const start = (...argv: string[]) => cli('rollout', 'start', '--to', first, ...argv, '-c', config)
  for (const [argv, problem, code] of [
    [['--halt', 'rejected>0, losst>2%'], /character 13: expected rejected, lost or errors, not losst/, 2],
    [['--waves', '10%,5%,100%'], /"5%": each wave is larger/, 2],
    [['--label', 'a b=c'], /no name of a label/, 2],
    [['--soak', '10'], /must be a duration between 0s and 365d/, 2],
    [['--device', '../x'], /cannot be a device's name/, 2],
  ] as const) {
    const ran = await start(...argv)
    assert.match(ran.err, problem)
    assert.equal(ran.code, code)
  }
  assert.match((await cli('rollout', 'pause', '-c', config)).err, /no rollout is under way/)
})
