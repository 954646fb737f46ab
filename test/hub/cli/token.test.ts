import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { hubCli as made } from './hub-cli.ts'

test('token create prints the token alone; list shows it; revoke ends it', async (t) => {
  const { cli, config } = made(t)
  const { code, out } = await cli(
    'token',
    'create',
    '--config',
    config,
    '--namespace',
    'edge',
    '--service-account',
    'gateway',
    '--node',
    'gw-1',
    '--ttl',
    '30m',
    '--max-uses',
    '3',
  )
  assert.equal(code, 0)
  assert.match(out, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
  const [row] = JSON.parse((await cli('token', 'list', '-c', config, '--json')).out) as {
    jti: string
    state: string
    expiresMs: number
    createdMs: number
    maxUses: number
  }[]
  assert.deepEqual([row?.state, row!.expiresMs - row!.createdMs, row?.maxUses], ['valid', 1_800_000, 3])
  assert.match((await cli('token', 'revoke', row!.jti, '-c', config)).out, /^revoked: .*edge\/gateway/)
  assert.match(
    (await cli('token', 'list', '-c', config)).out,
    /^ID .*STATE.*\n\S+ +edge +gateway +gw-1 +revoked +0 of 3 /,
  )
  const unknown = await cli('token', 'revoke', 'nobody', '-c', config)
  assert.deepEqual([unknown.code, unknown.out], [2, ''])
  assert.match(
    unknown.err,
    /^meshlet-hub: MESH_CONFIG_INVALID: there is no token nobody; meshlet-hub token list shows them/,
  )
})

test('token create: many tokens go into a file of their own, for one device each, and nobody sees them twice', async (t) => {
  const { cli, config, folder } = made(t)
  const create = ['token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway']
  const out = `${folder}/tokens.csv`
  const { code, err } = await cli(...create, '--name', 'gw-{n}', '--count', '3', '--out', out, '-l', 'site=north')
  assert.deepEqual([code, err], [0, ''])
  assert.equal(fs.statSync(out).mode & 0o777, 0o600)
  const lines = fs.readFileSync(out, 'utf8').trim().split('\n')
  assert.equal(lines[0], 'id,name,token,expires')
  assert.deepEqual(
    lines.slice(1).map((line) => line.split(',')[1]),
    ['gw-1', 'gw-2', 'gw-3'],
  )
  const listed = (await cli('token', 'list', '-c', config, '--json')).out
  const rows = JSON.parse(listed) as { maxUses: number; labels: object; nodes: string; devices: string[] }[]
  assert.deepEqual(
    rows.map((r) => [r.maxUses, r.labels, r.devices]),
    [1, 2, 3].map(() => [1, { site: 'north' }, []]),
  )
  const token = lines[1]!.split(',')[2]!
  assert.equal(listed.includes(token), false)
  assert.equal(fs.readFileSync(`${folder}/state/registry.db`).includes(token), false, 'stored hashed')
  for (const [argv, why] of [
    [['--name', 'gw-9', '--out', out], /--out .* cannot be made: it is there already/],
    [['--name-pattern', 'gw-*', '--count', '2'], /--count needs --out/],
    [['--name', 'gw-1', '--count', '2', '--out', `${folder}/b`], /needs a \{n\}/],
    [['--name', 'gw-*'], /is a pattern/],
    [['--name', 'a', '--name-pattern', 'b'], /not for one token/],
    [['--name', '../etc'], /no node name/],
    [['--name', 'a', '--cidr', '10.0.0.0/40'], /"10\.0\.0\.0\/40" is no address or range/],
    [['--name', 'a', '--label', 'x;drop=1'], /is no name of a label/],
    [['--name', 'a', '--label', "x='; --"], /is no value of a label/],
  ] as const) {
    const said = await cli(...create, ...argv)
    assert.equal(said.code, 2, argv.join(' '))
    assert.match(said.err, why)
  }
  assert.equal((JSON.parse((await cli('token', 'list', '-c', config, '--json')).out) as unknown[]).length, 3)
})

test('audit: who made and revoked which token, oldest first, of one subject or all', async (t) => {
  const { cli, config } = made(t)
  for (const name of ['gw-1', 'gw-2'])
    await cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--name', name)
  const [{ id }] = JSON.parse((await cli('audit', '-o', 'json', '-c', config)).out).map((r: { subject: string }) => ({
    id: r.subject,
  })) as [{ id: string }]
  await cli('token', 'revoke', id, '-c', config)
  const all = JSON.parse((await cli('audit', '-o', 'json', '-c', config)).out) as Record<string, string>[]
  assert.deepEqual(
    all.map((r) => [r['event'], r['detail'], r['actor']!.startsWith('operator:')]),
    [
      ['token.created', 'edge/gateway for gw-1', true],
      ['token.created', 'edge/gateway for gw-2', true],
      ['token.revoked', 'edge/gateway', true],
    ],
  )
  assert.match(
    (await cli('audit', '-c', config, '--of', id)).out,
    /^WHEN .*\n.*token\.created .*\n.*token\.revoked .*\n$/,
  )
})
