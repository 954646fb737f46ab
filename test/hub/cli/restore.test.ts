/** A backup is one file with everything, and a restore undoes neither revocations nor what devices have. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { revokeDevice } from '../../../hub/enrollment/operator.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { holdRunning } from '../../../hub/registry/running.ts'
import { makeRollout } from '../registry/rollout/make-rollout.ts'
import { createToken, hubCli, makeApplicant, type HubCli } from './hub-cli.ts'

const SPIFFE = 'spiffe://cluster.local/ns/edge/sa/gateway'
const tokens = async ({ cli, config }: HubCli): Promise<{ jti: string; nodes: string; state: string }[]> =>
  JSON.parse((await cli('token', 'list', '-c', config, '--json')).out) as never

async function enroll({ folder }: HubCli, name: string): Promise<void> {
  await using registry = openRegistry(`${folder}/state/registry.db`)
  await registry.enrollments.enroll(makeApplicant(name), Date.now())
  await registry.addCertificate({
    serial: `s-${name}`,
    spiffeUri: SPIFFE,
    jti: null,
    device: `key:k-${name}`,
    ip: '',
    issuedMs: Date.now(),
    notAfterMs: Date.now() + 60_000,
  })
  await registry.enrollments.renewed(name, {
    counter: 4,
    chain: 'c4',
    previousChain: 'c3',
    nonce: 'n',
    address: '',
    nowMs: Date.now(),
    notAfterMs: Date.now() + 60_000,
  })
}

test('one file of mode 0600 brings back CA, registry, tokens and resources on a machine that has nothing', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  await enroll(m, 'gw-1')
  fs.mkdirSync(`${folder}/resources/gw-1`)
  fs.writeFileSync(`${folder}/resources/gw-1/own.yaml`, 'resources: []\n')
  const roots = (await cli('roots', '-c', config)).out
  const files = ['root-cert.pem', 'root-key.pem', 'token-key.pem']
  const secrets = files.map((name) => fs.readFileSync(`${folder}/state/ca/${name}`, 'utf8'))
  assert.equal((await cli('backup', `${folder}/hub.backup`, '-c', config)).code, 0)
  assert.equal(fs.statSync(`${folder}/hub.backup`).mode & 0o777, 0o600)
  assert.equal((await cli('backup', `${folder}/hub.backup`, '-c', config)).code, 2, 'it overwrites nothing')
  for (const gone of ['state', 'resources']) fs.rmSync(`${folder}/${gone}`, { recursive: true })
  const restored = await cli('restore', `${folder}/hub.backup`, '-c', config)
  assert.deepEqual([restored.code, restored.err], [0, ''])
  assert.match(restored.out, /^restored: .*0 revocation\(s\) of before were kept.*1 resource file\(s\) put to /)
  assert.equal((await cli('roots', '-c', config)).out, roots)
  assert.deepEqual(
    files.map((name) => fs.readFileSync(`${folder}/state/ca/${name}`, 'utf8')),
    secrets,
  )
  for (const name of ['ca/root-key.pem', 'ca/token-key.pem', 'registry.db'])
    assert.equal(fs.statSync(`${folder}/state/${name}`).mode & 0o777, 0o600, name)
  assert.equal(fs.readFileSync(`${folder}/resources/gw-1/own.yaml`, 'utf8'), 'resources: []\n')
  assert.deepEqual(
    (await tokens(m)).map((row) => row.nodes),
    ['gw-1'],
  )
  await using registry = openRegistry(`${folder}/state/registry.db`)
  const { counter, resync } = (await registry.enrollments.byName('gw-1'))!
  assert.deepEqual([counter, resync], [4, true], 'its next renewal is taken for what comes next')
  assert.equal(await registry.certificate('unknown'), undefined)
  assert.deepEqual(
    (await registry.audit.list({ most: 9 })).map((r) => r.event),
    ['token.created', 'hub.backup', 'hub.restored'],
  )
})

test('nobody is logged in by a restore: sessions that were ended since, and links that were used, are void', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  const open = () => openRegistry(`${folder}/state/registry.db`)
  const endsMs = Date.now() + 3_600_000
  {
    await using registry = open()
    const who = { operator: 'eve', grants: [], endsMs }
    await registry.sessions.addLink({ ...who, hash: 'link' }, Date.now())
    const since = { createdMs: Date.now(), seenMs: Date.now(), address: '' }
    await registry.sessions.add({ ...who, ...since, hash: 'session', name: 'Eve', via: 'link', claims: [] })
  }
  assert.equal((await cli('backup', `${folder}/hub.backup`, '-c', config)).code, 0)
  {
    await using registry = open()
    assert.equal(await registry.sessions.endOf('eve'), 2)
  }
  assert.equal((await cli('restore', `${folder}/hub.backup`, '-c', config)).code, 0)
  await using registry = open()
  assert.deepEqual(await registry.sessions.all(), [])
  assert.equal(await registry.sessions.takeLink('link', Date.now()), undefined)
})

test('what was revoked after the backup stays revoked: tokens, certificates and devices', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  for (const name of ['gw-1', 'gw-2']) await enroll(m, name)
  await cli('backup', `${folder}/b`, '-c', config)
  const { jti } = (await tokens(m))[0]!
  await cli('token', 'revoke', jti, '-c', config)
  {
    await using registry = openRegistry(`${folder}/state/registry.db`)
    await revokeDevice(registry, 'gw-2', Date.now())
  }
  assert.match((await cli('restore', `${folder}/b`, '-c', config)).out, /3 revocation\(s\) of before were kept/)
  assert.deepEqual(
    (await tokens(m)).map((row) => row.state),
    ['revoked'],
  )
  await using registry = openRegistry(`${folder}/state/registry.db`)
  assert.deepEqual(
    (await registry.enrollments.all()).map((e) => [e.name, e.state]),
    [
      ['gw-1', 'active'],
      ['gw-2', 'revoked'],
    ],
  )
  assert.deepEqual(
    (await Promise.all(['s-gw-1', 's-gw-2'].map((s) => registry.certificate(s)))).map((c) => c!.revokedMs !== null),
    [false, true],
  )
})

test('nothing is replaced while a hub runs, nor by what is no backup; a damaged registry does not stand in the way', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  await cli('backup', `${folder}/b`, '-c', config)
  const running = holdRunning(`${folder}/state`, undefined)
  const refused = await cli('restore', `${folder}/b`, '-c', config)
  running[Symbol.dispose]()
  assert.match(refused.err, /MESH_STATE_IN_USE: a hub runs on/)
  fs.writeFileSync(`${folder}/text`, 'no backup')
  fs.copyFileSync(`${folder}/state/registry.db`, `${folder}/plain`)
  const cut = fs.readFileSync(`${folder}/b`)
  fs.writeFileSync(`${folder}/cut`, cut.subarray(0, cut.length / 2))
  for (const bad of ['text', 'plain', 'cut', 'nowhere']) {
    const said = await cli('restore', `${folder}/${bad}`, '-c', config)
    assert.equal(said.code, 2, bad)
    assert.match(said.err, /cannot be read as a backup of a hub/)
  }
  assert.equal((await tokens(m)).length, 1, 'what was there goes on')
  assert.deepEqual(
    fs.readdirSync(`${folder}/state`).filter((name) => name.startsWith('restore-')),
    [],
  )
  for (const file of fs.readdirSync(`${folder}/state`))
    if (file.startsWith('registry.db')) fs.rmSync(`${folder}/state/${file}`)
  fs.writeFileSync(`${folder}/state/registry.db`, 'damaged')
  assert.equal((await cli('restore', `${folder}/b`, '-c', config)).code, 0)
  assert.equal((await tokens(m)).length, 1)
})

test('a backup that fails leaves nothing behind, and none lies in what is backed up', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  assert.equal(
    (await cli('backup', `${folder}/state/backup`, '-c', config)).code,
    0,
    'in the state folder, as the runbook has it',
  )
  const before = fs.readdirSync(folder)
  for (const bad of [`${folder}/nowhere/b`, `${folder}/hub.yaml/b`, '/proc/b']) {
    const { code, err } = await cli('backup', bad, '-c', config)
    assert.equal(code, 1, err)
    assert.match(err, /MESH_FILE_UNWRITABLE: the backup cannot be written[^]*Name a file in a folder/)
  }
  for (const bad of [`${folder}/state/ca/b`, `${folder}/resources/b`])
    assert.match((await cli('backup', bad, '-c', config)).err, /would be part of what is backed up/)
  assert.deepEqual(fs.readdirSync(folder), before)
})

test('no rollout goes back: what has halted since stays halted; where nobody knows, it waits for an operator', async (t) => {
  const m = hubCli(t)
  const { cli, config, folder } = m
  await createToken(m, 'gw-1')
  const open = () => openRegistry(`${folder}/state/registry.db`)
  const status = async () => {
    await using registry = open()
    return [(await registry.rollouts.list(1))[0]?.state, (await registry.rollouts.assignments())[0]?.revision]
  }
  {
    await using registry = open()
    await registry.rollouts.setAssignments([{ scope: { kind: 'all' }, revision: 'a' }])
    await registry.rollouts.add(makeRollout())
  }
  assert.equal((await cli('backup', `${folder}/b`, '-c', config)).code, 0)
  {
    await using registry = open()
    const active = await registry.rollouts.active()
    await registry.rollouts.update({ ...active!, state: 'halted', reason: 'rejected>0' })
    await registry.rollouts.add(makeRollout({ id: 'r2', to: 'c', state: 'completed', startedMs: 2 }))
    await registry.rollouts.setAssignments([{ scope: { kind: 'all' }, revision: 'c' }])
  }
  assert.equal((await cli('restore', `${folder}/b`, '-c', config)).code, 0)
  assert.deepEqual(await status(), ['completed', 'c'])
  {
    await using registry = open()
    assert.equal((await registry.rollouts.get('r1'))?.state, 'halted')
    assert.match((await registry.audit.list({ most: 5 })).at(-1)!.detail, /and its rollouts/)
  }
  // Nothing of before is there.
  fs.rmSync(`${folder}/state`, { recursive: true })
  assert.equal((await cli('restore', `${folder}/b`, '-c', config)).code, 0)
  assert.deepEqual(await status(), ['paused', 'a'])
  // What is there is another fleet's.
  fs.rmSync(`${folder}/state`, { recursive: true })
  await createToken(m, 'gw-9')
  {
    await using registry = open()
    await registry.rollouts.add(makeRollout({ id: 'r9', to: 'z', state: 'completed', startedMs: 9 }))
  }
  assert.equal((await cli('restore', `${folder}/b`, '-c', config)).code, 0)
  assert.deepEqual(await status(), ['paused', 'a'])
})
