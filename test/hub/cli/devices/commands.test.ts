import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hubCli } from '../hub-cli.ts'

const COMMANDS = [
  'devices',
  'devices forget',
  'device show',
  'device status',
  'device logs',
  'device command',
  'device list',
  'device approve',
  'device deny',
  'device revoke',
  'watch',
]
for (const command of COMMANDS)
  test(`${command} has help, and takes no option that it does not know`, async (t) => {
    const { cli } = hubCli(t)
    const { code, out } = await cli(...command.split(' '), '--help')
    assert.equal(code, 0)
    assert.match(out, new RegExp(`^Usage: meshlet-hub ${command} `))
    assert.equal((await cli(...command.split(' '), 'x', '--nonsense')).code, 2)
  })

test('a label without a value, and a limit that is no number, are wrong usage', async (t) => {
  const { cli, config } = hubCli(t)
  assert.equal((await cli('devices', '--label', 'site', '-c', config)).code, 2)
  assert.equal((await cli('devices', '--limit', '-3', '-c', config)).code, 2)
  assert.equal((await cli('devices', '-o', 'xml', '-c', config)).code, 2)
})
