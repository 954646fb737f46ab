/** Which hub a command is about, and which commands are about the one beside them alone. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { hubCli } from './hub-cli.ts'
import { makeMachine } from './remote-rig.ts'

const BESIDE: readonly (readonly string[])[] = [
  ['init'],
  ['run'],
  ['roots', 'print'],
  ['roots', 'status'],
  ['roots', 'add'],
  ['backup', 'x'],
  ['restore', 'x'],
  ['store', 'migrate', '--to', 'postgres://u@h/d'],
  ['connect', 'gw-1', '80'],
  ['revision', 'check'],
  ['version'],
]
const HUB = 'https://hub.example'

test('what a hub does with its own files says so, and what to do', async (t) => {
  const machine = makeMachine(t)
  for (const argv of BESIDE) {
    const { code, out, err } = await machine.run(['--hub', HUB, ...argv])
    assert.deepEqual([code, out], [2, ''], argv.join(' '))
    assert.match(err, new RegExp(`meshlet-hub ${argv[0]}.* works on the machine of its hub alone: log in there`))
  }
  assert.equal((await machine.run(['version'], { hub: HUB })).code, 0, 'the environment is for those that can')
})

const REMOTE: readonly (readonly string[])[] = [
  ['devices'],
  ['devices', 'forget', 'x'],
  ['device', 'show', 'x'],
  ['device', 'list'],
  ['device', 'approve', 'x'],
  ['device', 'deny', 'x'],
  ['device', 'revoke', 'x'],
  ['device', 'status', 'x'],
  ['device', 'logs', 'x'],
  ['device', 'command', 'x', 'renew'],
  ['watch'],
  ['token', 'create', '-n', 'edge', '-s', 'gw', '--name', 'x'],
  ['token', 'list'],
  ['token', 'revoke', 'x'],
  ['revision', 'list'],
  ['revision', 'show', 'abcd'],
  ['revision', 'diff', 'abcd', 'abcd'],
  ['revision', 'who'],
  ['rollout', 'start', '--to', 'abcd'],
  ['rollout', 'status'],
  ['rollout', 'list'],
  ['rollout', 'pause'],
  ['rollout', 'resume'],
  ['rollout', 'abort'],
  ['rollout', 'undo'],
  ['audit'],
  ['sessions'],
  ['sessions', 'end', 'x'],
]

test('every other command takes it before and behind its name, or from the environment', async (t) => {
  const machine = makeMachine(t)
  const nobody =
    /MESH_HUB_SESSION: nobody is logged in to https:\/\/hub\.example on this machine.*meshlet-hub login --hub/
  for (const argv of REMOTE) {
    for (const [given, io] of [
      [['--hub', HUB, ...argv], {}],
      [[...argv, '--hub', HUB], {}],
      [argv, { hub: HUB }],
    ] as const) {
      const { code, err } = await machine.run(given, io)
      assert.equal(code, 1, given.join(' '))
      assert.match(err, nobody, given.join(' '))
    }
  }
})

test('every command of the program is in one of the two lists', async (t) => {
  const machine = makeMachine(t)
  const listed = async (...argv: string[]): Promise<string[]> => {
    const { out } = await machine.run([...argv, '--help'])
    return [...(/Commands:\n([^]*?)(?:\n\n|$)/.exec(out)?.[1] ?? '').matchAll(/^ {2}([a-z]+)/gm)].map(
      ([, name]) => name!,
    )
  }
  const known = new Set([...BESIDE, ...REMOTE].map((argv) => argv.slice(0, 2).join(' ')))
  const alone = new Set([...BESIDE, ...REMOTE].map(([first]) => first!))
  for (const name of (await listed()).filter((one) => !['help', 'login', 'logout'].includes(one))) {
    assert.ok(alone.has(name), name)
    for (const inner of (await listed(name)).filter((one) => one !== 'help'))
      assert.ok(known.has(`${name} ${inner}`) || name === 'roots', `${name} ${inner}`)
  }
})

test('a hub beside and one elsewhere are not both meant; -c alone is stronger than the environment', async (t) => {
  const { cli, config } = hubCli(t)
  assert.match((await cli('devices', '-c', config, '--hub', HUB)).err, /--hub is about another machine/)
  const machine = makeMachine(t)
  assert.equal((await machine.run(['devices', '-c', config], { hub: HUB })).code, 0)
  assert.equal((await machine.run(['devices', '--hub', HUB], { hub: 'https://other.example' })).code, 1)
})

test('an address is https, or of this machine; options of one login are none of the other', async (t) => {
  const machine = makeMachine(t)
  for (const hub of [
    'http://hub.example',
    'http://10.0.0.1:15080',
    'ftp://hub.example',
    'https://hub.example/console',
    'https://ann:pw@hub.example',
    'https://hub.example?x=1',
    'hub.example',
    '',
  ]) {
    const { code, err } = await machine.run(['devices', '--hub', hub])
    assert.equal(code, 2, hub)
    assert.match(err, /is no https:\/\/HOST|is not encrypted/)
  }
  for (const argv of [
    ['login', '--hub', HUB, '--role', 'viewer'],
    ['login', '--hub', HUB, '--name', 'ann'],
    ['login', '--ca-file', 'x'],
    ['login', '--ca-pin', 'sha256:00'],
  ])
    assert.equal((await machine.run(argv)).code, 2, argv.join(' '))
})
