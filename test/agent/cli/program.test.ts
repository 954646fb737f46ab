import { test } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../tools/free-ports.ts'
import { meshlet, says } from '../../scenarios/cli.ts'

test('wrong words are wrong usage; help and version are not', async () => {
  for (const argv of [['frobnicate'], ['run', '--what'], ['mqtt', 'rr', '-t', 'a', '-n'], []]) {
    const said = await meshlet(argv)
    assert.equal(said.code, 2, `meshlet ${argv.join(' ')}`)
    assert.match(said.err, /--help/)
  }
  for (const argv of [['--help'], ['run', '--help'], ['version']]) {
    const said = await meshlet(argv)
    assert.deepEqual([said.code, said.err], [0, ''], `meshlet ${argv.join(' ')}`)
  }
  says(await meshlet(['status', '--admin', 'nowhere']), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /--admin must be ADDRESS:PORT, not "nowhere"/,
    remedy: /Correct what/,
  })
})

test('an agent that does not run is told from one that does', async () => {
  const [port] = (await freePorts(1)) as [number]
  for (const argv of [['status'], ['config', 'dump'], ['drain']]) {
    says(await meshlet([...argv, '--admin', `127.0.0.1:${port}`]), {
      exit: 1,
      code: 'MESH_AGENT_UNREACHABLE',
      what: new RegExp(`127\\.0\\.0\\.1:${port}`),
      remedy: /Start it with meshlet run/,
    })
  }
})

test('the help names every command, and each command has help of its own', async () => {
  const commands = ['run', 'join', 'status', 'config', 'mqtt', 'reload', 'drain', 'precompile', 'bug-report', 'version']
  const { out } = await meshlet(['--help'])
  assert.deepEqual(
    [...out.matchAll(/^ {2}([a-z-]+)(?: \[[a-z]+\])* {2,}/gm)]
      .map(([, name]) => name)
      .filter((name) => name !== 'help'),
    commands,
  )
  for (const command of [...commands, 'config check', 'config dump', 'mqtt pub', 'mqtt sub', 'mqtt rr']) {
    const said = await meshlet([...command.split(' '), '--help'])
    assert.deepEqual([said.code, said.err], [0, ''], command)
    assert.ok(said.out.startsWith(`Usage: meshlet ${command} `), said.out)
  }
})

test('what an action ends with is the exit code, and what it throws is one sentence', async () => {
  const { code, out } = await meshlet(['version', '--json'])
  assert.equal(code, 0)
  assert.equal(typeof (JSON.parse(out) as { version: unknown }).version, 'string')
  says(await meshlet(['run', '-c', '/nowhere/agent.yaml']), {
    exit: 2,
    code: 'MESH_CONFIG_INVALID',
    what: /there is no file \/nowhere\/agent\.yaml/,
    remedy: /Correct/,
  })
})
