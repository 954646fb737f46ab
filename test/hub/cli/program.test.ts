import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Registry } from '../../../hub/registry/registry.ts'
import { runCli, type Io } from '../../../hub/cli/program.ts'

type Ran = { readonly code: number; readonly out: string; readonly err: string }
function made(t: { after(fn: () => void): void }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-cli-'))
  t.after(() => fs.rmSync(folder, { recursive: true }))
  fs.mkdirSync(path.join(folder, 'resources'))
  const config = path.join(folder, 'hub.yaml')
  fs.writeFileSync(config, `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\n`)
  const cli = async (...argv: string[]): Promise<Ran> => {
    const [out, err]: [string[], string[]] = [[], []]
    const io: Io = { out: (text) => { out.push(text) }, err: (text) => { err.push(text) }, stopRequested: async () => 'test' }
    const code = await runCli(argv, io)
    return { code, out: out.join(''), err: err.join('') }
  }
  return { folder, config, cli }
}

test('token create prints the token alone; list shows it; revoke ends it', async (t) => {
  const { cli, config } = made(t)
  const { code, out } = await cli('token', 'create', '--config', config, '--namespace', 'edge', '--service-account', 'gateway', '--ttl', '30m', '--max-uses', '3')
  assert.equal(code, 0)
  assert.match(out, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
  const [row] = JSON.parse((await cli('token', 'list', '-c', config, '--json')).out) as { jti: string; state: string; expiresMs: number; createdMs: number; maxUses: number }[]
  assert.deepEqual([row?.state, row!.expiresMs - row!.createdMs, row?.maxUses], ['valid', 1_800_000, 3])
  assert.match((await cli('token', 'revoke', row!.jti, '-c', config)).out, /^revoked: .*edge\/gateway/)
  assert.match((await cli('token', 'list', '-c', config)).out, /^ID .*STATE.*\n\S+ +edge +gateway +revoked +0 of 3 /)
  const unknown = await cli('token', 'revoke', 'nobody', '-c', config)
  assert.deepEqual([unknown.code, unknown.out], [1, ''])
  assert.match(unknown.err, /^meshlet-hub: MESH_TOKEN_INVALID: there is no token nobody/)
})

test('devices as table and JSON; forget frees a name', async (t) => {
  const { cli, config, folder } = made(t)
  await cli('token', 'list', '-c', config)
  const registry = new Registry(`${folder}/state/registry.db`)
  registry.deviceSeen({ name: 'edge', nodeId: 'id', spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway', ip: '10.0.0.1', serial: undefined, nowMs: 0 })
  registry[Symbol.dispose]()
  assert.match((await cli('devices', '-c', config)).out, /^NODE .*\nedge +spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway +1970-01-01 00:00:00Z +10\.0\.0\.1 .* -\n$/)
  assert.equal((JSON.parse((await cli('devices', '--json', '-c', config)).out) as unknown[]).length, 1)
  assert.equal((await cli('devices', 'forget', 'edge', '-c', config)).code, 0)
  assert.equal((await cli('devices', 'forget', 'edge', '-c', config)).code, 2)
})

test('exit codes: 2 for wrong usage and a wrong file, 1 for what failed, 0 for help', async (t) => {
  const { cli, config, folder } = made(t)
  const codes = async (...argv: string[]): Promise<number> => (await cli(...argv)).code
  assert.equal(await codes('--help'), 0)
  assert.equal(await codes('nonsense'), 2)
  assert.equal(await codes('token', 'create', '-c', config), 2)
  assert.equal(await codes('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--ttl', 'soon'), 2)
  assert.equal(await codes('token', 'create', '-c', config, '-n', 'Not A Namespace', '-s', 'gateway'), 2)
  assert.equal(await codes('run', '-c', `${folder}/none.yaml`), 2)
  fs.writeFileSync(`${folder}/bad.yaml`, 'resources: r\nresorces: r\n')
  assert.match((await cli('run', '-c', `${folder}/bad.yaml`)).err, /MESH_CONFIG_INVALID.*\n.*bad\.yaml:2: resorces/)
  fs.rmSync(`${folder}/state`, { recursive: true })
  fs.writeFileSync(`${folder}/state`, 'a file where the folder should be')
  const unusable = await cli('token', 'list', '-c', config)
  assert.equal(unusable.code, 1)
  assert.match(unusable.err, /MESH_STATE_UNUSABLE/)
})

test('the program: run until SIGTERM, tokens beside it, root certificate at its place, exit code 0', { timeout: 60_000 }, async (t) => {
  const { folder, config, cli } = made(t)
  const hub = spawn(process.execPath, ['hub/main.ts', 'run', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => { hub.kill('SIGKILL') })
  let log = ''
  const ready = new Promise<void>((resolve, reject) => {
    hub.stdout.on('data', (bytes: Buffer) => { log += bytes.toString(); if (log.includes('hub.started')) resolve() })
    hub.once('exit', () => reject(new Error(log)))
  })
  await ready
  assert.match(fs.readFileSync(`${folder}/state/ca/root-cert.pem`, 'utf8'), /BEGIN CERTIFICATE/)
  assert.equal((await cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway')).code, 0)
  const ended = new Promise<[number | null, string | null]>((resolve) => { hub.once('exit', (...how) => resolve(how)) })
  hub.kill('SIGTERM')
  assert.deepEqual(await ended, [0, null])
  assert.match(log, /"evt":"hub\.stopping","reason":"SIGTERM"/)
})
