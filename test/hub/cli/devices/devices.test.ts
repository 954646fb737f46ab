import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hubCli } from '../hub-cli.ts'
import { fill, type Filled } from './fill.ts'

const FLEET: readonly Filled[] = [
  { name: 'gw-1', connected: true, report: { version: '1.0.0' }, labels: { site: 'north' } },
  {
    name: 'gw-2',
    connected: false,
    report: { problems: [{ code: 'MESH_STORAGE_FULL', text: '=cmd|calc' }] },
    labels: { site: 'south' },
  },
  { name: 'gw-3', connected: false },
]
async function made(t: Parameters<typeof hubCli>[0]) {
  const hub = hubCli(t)
  await hub.cli('devices', '-c', hub.config)
  await fill(hub.folder, FLEET)
  const names = async (...argv: string[]): Promise<string[]> => {
    const { out, code, err } = await hub.cli('devices', '-o', 'json', '-c', hub.config, ...argv)
    assert.equal(code, 0, err)
    return (JSON.parse(out) as { name: string }[]).map(({ name }) => name)
  }
  return { ...hub, names }
}

test('devices are found by labels, by questions, and by both', async (t) => {
  const { names } = await made(t)
  assert.deepEqual(await names(), ['gw-1', 'gw-2', 'gw-3'])
  assert.deepEqual(await names('--label', 'site=south'), ['gw-2'])
  assert.deepEqual(await names('--where', 'connected=false or problems>0'), ['gw-2', 'gw-3'])
  assert.deepEqual(await names('--where', 'reported=none'), ['gw-3'])
  assert.deepEqual(await names('--label', 'site=north', '--where', 'problems>0'), [])
  assert.deepEqual(await names('--where', 'seen>-1h', '--limit', '2'), ['gw-1', 'gw-2'])
})

test('a question that cannot be understood is wrong usage, with its place', async (t) => {
  const { cli, config } = await made(t)
  const { code, err } = await cli('devices', '--where', 'conected=true', '-c', config)
  assert.equal(code, 2)
  assert.match(err, /--where: column 1: there is no field "conected"/)
  assert.match((await cli('devices', '--help')).out, /connected +boolean[\s\S]*label\.KEY/)
})

test('as CSV there is a column for each field, and nothing that a spreadsheet calculates', async (t) => {
  const { cli, config } = await made(t)
  const { out } = await cli('devices', '-o', 'csv', '-c', config)
  const [header, first] = out.split('\r\n')
  assert.match(header!, /^name,state,connected,seen,/)
  assert.equal(first!.split(',').length, header!.split(',').length)
  assert.match(out, /\ngw-2,.*MESH_STORAGE_FULL.*site=south\r\n/)
})

test('as a table devices without reports are told as before', async (t) => {
  const { cli, config } = await made(t)
  const { out, err } = await cli('devices', '--limit', '1', '-c', config)
  assert.match(out, /^NODE +STATE .*PROBLEMS.*\ngw-1 .*001122334455 /)
  assert.match(err, /1 of 3 devices are shown/)
})
