import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { Client, credentials } from '@grpc/grpc-js'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { holdRunning, isRunning } from '../../../hub/registry/running.ts'
import { CLUSTER } from '../../../hub/source/resources.ts'
import { bearer, DeltaStream } from '../start-hub.ts'
import { hubCli as made } from './hub-cli.ts'
import { token } from '../registry/first-rows.ts'

test('devices: connected or not, certificate in use, configuration in force, what was refused; forget frees a name', async (t) => {
  const { cli, config, folder } = made(t)
  await cli('token', 'list', '-c', config)
  const registry = openRegistry(`${folder}/state/registry.db`)
  t.after(() => registry[Symbol.asyncDispose]())
  await registry.addToken({ ...token, expiresMs: 1e15 })
  await registry.addCertificate({
    serial: 'abcdef0123456789',
    spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
    jti: 'j1',
    device: 'k',
    ip: '',
    issuedMs: 0,
    notAfterMs: 0,
  })
  await registry.claimName({
    name: 'edge',
    nodeId: 'id',
    spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
    ip: '10.0.0.1',
    holder: 'k',
    jti: 'j1',
    nowMs: 0,
  })
  const change = {
    name: 'edge',
    connectedMs: 0,
    lastSeenMs: 0,
    inForce: '0123456789abcdef',
    inForceMs: 0,
    refused: undefined,
  }
  await registry.devicesChanged([change], Date.now())
  assert.match(
    (await cli('devices', '-c', config)).out,
    /^NODE .*\nedge +connected +1970-01-01 00:00:00Z +0123456789ab +1970-01-01 00:00:00Z +abcdef012345 +1970-01-01 00:00:00Z +- +10\.0\.0\.1 +spiffe:.*gateway\n$/,
  )
  await registry.devicesChanged([{ ...change, refused: 'no such \u001b[31mfield' }], Date.now())
  assert.match((await cli('devices', '-c', config)).out, /newer refused.*\nedge refused: no such  \[31mfield\n$/)
  await registry.devicesChanged([{ ...change, connectedMs: null }], Date.now())
  assert.match((await cli('devices', '-c', config)).out, /\nedge +gone /)
  await registry.devicesChanged([change], Date.now() - 60_000)
  const { out, err } = await cli('devices', '-c', config)
  assert.match(out, /\nedge +unknown /)
  assert.match(err, /no hub has written to this state/)
  assert.equal((JSON.parse((await cli('devices', '--json', '-c', config)).out) as unknown[]).length, 1)
  assert.equal((await cli('devices', 'forget', 'edge', '-c', config)).code, 0)
  assert.equal((await cli('devices', 'forget', 'edge', '-c', config)).code, 2)
})

test('devices: after a SIGKILL of the hub nobody is said to be connected, at once', { timeout: 60_000 }, async (t) => {
  const { cli, config, folder } = made(t)
  const hub = spawn(
    process.execPath,
    [path.resolve(import.meta.dirname, '../../../hub/main.ts'), 'run', '--config', config],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  t.after(() => {
    hub.kill('SIGKILL')
  })
  let log = ''
  hub.stdout.on('data', (part: Buffer) => {
    log += part.toString()
  })
  const until = async (is: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await is()))
      await new Promise((resolve) => {
        setTimeout(resolve, 20)
      })
  }
  await until(() => log.includes('"evt":"hub.started"'))
  const token = (await cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--node', 'gw-1')).out.trim()
  const client = new Client(
    `localhost:${/"port":(\d+)/.exec(log)![1]!}`,
    credentials.createSsl(fs.readFileSync(`${folder}/state/ca/root-cert.pem`)),
  )
  t.after(() => {
    client.close()
  })
  const stream = new DeltaStream(client, bearer(token))
  stream.ask({ node: { id: 'gw-1' }, typeUrl: CLUSTER })
  await stream.next()
  await until(async () => /\ngw-1 +connected /.test((await cli('devices', '-c', config)).out))
  hub.kill('SIGKILL')
  await once(hub, 'close')
  const { out, err } = await cli('devices', '-c', config)
  assert.match(out, /\ngw-1 +unknown /)
  assert.match(err, /no hub runs on this state/)
})

test('one hub holds the state; its end, and a folder where none has run, are told apart', async (t) => {
  const { folder } = made(t)
  assert.equal(isRunning(folder, undefined), undefined)
  const first = holdRunning(folder, undefined)
  const second = holdRunning(folder, undefined)
  assert.equal(isRunning(folder, undefined), true)
  second[Symbol.dispose]()
  assert.equal(isRunning(folder, undefined), true, "it was the other's")
  first[Symbol.dispose]()
  assert.equal(isRunning(folder, undefined), false)
})

test("what root does beside the hub stays the hub's", async (t) => {
  const { cli, config, folder } = made(t)
  fs.chmodSync(folder, 0o755)
  fs.mkdirSync(`${folder}/state`, { mode: 0o700 })
  const owner = process.getuid!() === 0 ? 4_711 : process.getuid!()
  fs.chownSync(`${folder}/state`, owner, owner)
  await cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--node', 'gw-1')
  await cli('roots', '-c', config)
  const all = fs.readdirSync(`${folder}/state`, { recursive: true, encoding: 'utf8' })
  assert.ok(all.includes('registry.db') && all.includes('ca/root-key.pem'), all.join())
  for (const name of all) assert.equal(fs.statSync(`${folder}/state/${name}`).uid, owner, name)
})

test('roots prints the root certificate, the same before and after the hub has started', async (t) => {
  const { cli, config, folder } = made(t)
  const { out } = await cli('roots', '-c', config)
  assert.match(out, /^-----BEGIN CERTIFICATE-----\n/)
  assert.equal((await cli('run', '-c', config)).code, 0)
  assert.equal((await cli('roots', '-c', config)).out, out)
  assert.equal(fs.readFileSync(`${folder}/state/ca/root-cert.pem`, 'utf8'), out)
})

test('exit codes: 2 for wrong usage and a wrong file, 1 for what failed, 0 for help', async (t) => {
  const { cli, config, folder } = made(t)
  const codes = async (...argv: string[]): Promise<number> => (await cli(...argv)).code
  assert.equal(await codes('--help'), 0)
  assert.equal(await codes('nonsense'), 2)
  assert.equal(await codes('token', 'create', '-c', config), 2)
  assert.equal(
    await codes('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--node', 'gw-1', '--ttl', 'soon'),
    2,
  )
  assert.equal(
    await codes('token', 'create', '-c', config, '-n', 'Not A Namespace', '-s', 'gateway', '--node', 'gw-1'),
    2,
  )
  assert.equal(await codes('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway'), 2, 'for which node?')
  assert.equal(await codes('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--node', '../x'), 2)
  assert.equal(await codes('run', '-c', `${folder}/none.yaml`), 2)
  fs.writeFileSync(`${folder}/bad.yaml`, 'resources: r\nresorces: r\n')
  assert.match((await cli('run', '-c', `${folder}/bad.yaml`)).err, /MESH_CONFIG_INVALID.*\n.*bad\.yaml:2: resorces/)
  fs.rmSync(`${folder}/state`, { recursive: true })
  fs.writeFileSync(`${folder}/state`, 'a file where the folder should be')
  const unusable = await cli('token', 'list', '-c', config)
  assert.equal(unusable.code, 1)
  assert.match(unusable.err, /MESH_STATE_UNUSABLE/)
})

test(
  'the program: run until SIGTERM, tokens beside it, root certificate at its place, exit code 0',
  { timeout: 60_000 },
  async (t) => {
    const { folder, config, cli } = made(t)
    const hub = spawn(process.execPath, ['hub/main.ts', 'run', '--config', config], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(() => {
      hub.kill('SIGKILL')
    })
    let log = ''
    const ready = new Promise<void>((resolve, reject) => {
      hub.stdout.on('data', (bytes: Buffer) => {
        log += bytes.toString()
        if (log.includes('hub.started')) resolve()
      })
      hub.once('exit', () => reject(new Error(log)))
    })
    await ready
    assert.match(fs.readFileSync(`${folder}/state/ca/root-cert.pem`, 'utf8'), /BEGIN CERTIFICATE/)
    assert.equal((await cli('token', 'create', '-c', config, '-n', 'edge', '-s', 'gateway', '--node', 'gw-1')).code, 0)
    const ended = new Promise<[number | null, string | null]>((resolve) => {
      hub.once('exit', (...how) => resolve(how))
    })
    hub.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null])
    assert.match(log, /"evt":"hub\.stopping","reason":"SIGTERM"/)
  },
)
