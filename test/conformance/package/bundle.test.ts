/**
 * The shipped files and nothing else: both bundles alone in empty folders, with the example configurations of
 * deploy/edge.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import type net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import type { AgentStatus } from '../../../agent/admin/status.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { distFile, run, start, temporaryFolder, until, type Finally, type Running } from '../programs.ts'
import { Agent, example, hostRoutes, staticCluster, writeResources } from './shipped.ts'

const MAX_AGENT_BYTES = 6_000_000
const ROOT = path.resolve(import.meta.dirname, '../../..')
const BROKER = 'outbound|8883||broker.cloud.svc.cluster.local'

/** An origin whose `/slow` answers only when `release` is called. */
async function origin(t: Finally): Promise<{ port: number; slow: Promise<void>; release: () => void }> {
  const arrived = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const server = http
    .createServer((req, res) => {
      if (req.url !== '/slow') {
        res.end('at once')
        return
      }
      arrived.resolve()
      void held.promise.then(() => res.end('late'))
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as net.AddressInfo).port, slow: arrived.promise, release: held.resolve }
}

type Answer = { readonly status: number; readonly body: string }
function throughProxy(proxyPort: number, url: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = http.get(
      { host: '127.0.0.1', port: proxyPort, path: url, headers: { host: new URL(url).host }, agent: false },
      (res) => {
        let body = ''
        res.on('data', (d: Buffer) => {
          body += d.toString()
        })
        res.on('end', () => {
          resolve({ status: res.statusCode ?? 0, body })
        })
        res.on('error', reject)
      },
    )
    req.on('error', reject)
  })
}

type Hub = { readonly port: number; readonly process: Running; readonly rootsFile: string; token(): Promise<string> }
async function hub(t: Finally, resources: readonly object[]): Promise<Hub> {
  const [alone, folder] = [temporaryFolder(t), temporaryFolder(t)]
  const [port] = (await freePorts(1)) as [number]
  const bundle = path.join(alone, 'meshlet-hub.cjs')
  fs.copyFileSync(distFile('meshlet-hub.cjs'), bundle)
  writeResources(folder, resources, 'resources/edge-1/all.json')
  const config = path.join(folder, 'hub.yaml')
  fs.writeFileSync(
    config,
    example('hub.yaml', {
      '0.0.0.0:15012': `127.0.0.1:${port}`,
      '/etc/meshlet-hub/resources': `${folder}/resources`,
      '/var/lib/meshlet-hub': `${folder}/state`,
    }),
  )
  const process_ = start(t, process.execPath, [bundle, 'run', '--config', config], { cwd: alone })
  await process_.listening(port)
  return {
    port,
    process: process_,
    rootsFile: path.join(folder, 'state/ca/root-cert.pem'),
    async token() {
      const { code, out, err } = await run(
        process.execPath,
        [
          bundle,
          'token',
          'create',
          '--config',
          config,
          '--namespace',
          'edge',
          '--service-account',
          'gateway',
          '--node',
          'edge-1',
        ],
        { cwd: alone },
      )
      assert.equal(code, 0, err)
      assert.deepEqual(fs.readdirSync(alone), ['meshlet-hub.cjs'], 'the hub writes nothing beside itself')
      return out.trim()
    },
  }
}

async function startRig(t: TestContext) {
  const app = await origin(t)
  const [proxyPort, mqttPort, brokerPort] = (await freePorts(3)) as [number, number, number]
  const control = await hub(t, [
    staticCluster('orders', app.port),
    staticCluster(BROKER, brokerPort),
    hostRoutes('http_proxy', { 'orders.cloud.svc.cluster.local': 'orders' }),
  ])
  const credentials = temporaryFolder(t)
  fs.copyFileSync(control.rootsFile, path.join(credentials, 'roots.pem'))
  fs.writeFileSync(path.join(credentials, 'token'), await control.token())
  const agent = await Agent.create(
    t,
    (folder, adminPort) =>
      `${example('agent.yaml', {
        'address: istiod.istio-system.svc:15012': `address: 127.0.0.1:${control.port}\n  serverName: hub.example.org`,
        '/var/lib/meshlet': `${folder}/state`,
        'port: 15080': `port: ${proxyPort}`,
        'port: 1883': `port: ${mqttPort}`,
      })}admin: {port: ${adminPort}}\n`,
    { CREDENTIALS_DIRECTORY: credentials },
  )
  const admin = ['--admin', `127.0.0.1:${agent.adminPort}`]
  return { app, proxyPort, mqttPort, control, credentials, agent, admin }
}
type Rig = Awaited<ReturnType<typeof startRig>>

test(
  'an agent alone in an empty folder joins, serves, answers its commands and drains, with deploy/edge/agent.yaml',
  { timeout: 120_000 },
  async (t) => {
    const rig = await startRig(t)
    await configCheckAndJoin(t, rig)
    await rig.agent.start()
    await statusAndTraffic(t, rig)
    await stopAndStart(t, rig)
    assert.deepEqual(fs.readdirSync(rig.agent.bundleFolder), ['meshlet.cjs'], 'nothing is written beside the bundle')
  },
)

async function configCheckAndJoin(t: TestContext, { agent, credentials }: Rig): Promise<void> {
  await t.test('config check finds nothing wrong', async () => {
    const { code, out, err } = await agent.cli(['config', 'check', '--config', agent.configFile])
    assert.equal(code, 0, out + err)
  })
  await t.test('config check names the line of a mistake and exits with 2', async () => {
    const broken = path.join(agent.folder, 'broken.yaml')
    fs.writeFileSync(broken, fs.readFileSync(agent.configFile, 'utf8').replace('profile: strict', 'profile: careless'))
    const { code, out, err } = await agent.cli(['config', 'check', '--config', broken])
    assert.equal(code, 2)
    const line =
      fs
        .readFileSync(broken, 'utf8')
        .split('\n')
        .findIndex((l) => l.includes('careless')) + 1
    assert.match(out + err, /profile/)
    assert.match(out + err, new RegExp(`\\b${line}\\b`))
  })
  await t.test('join trades the token for a certificate', async () => {
    const { code, out, err } = await agent.cli(['join', '--config', agent.configFile, '--json'])
    assert.equal(code, 0, err)
    assert.equal((JSON.parse(out) as { spiffeId: string }).spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
  })
  await t.test('a false token does not join and exits with 1', async () => {
    const other = await Agent.create(
      t,
      (folder) => fs.readFileSync(agent.configFile, 'utf8').replaceAll(agent.folder, folder),
      { CREDENTIALS_DIRECTORY: credentials },
    )
    const { code, out, err } = await other.cli(['join', '--config', other.configFile, '--token', '-'], {
      input: 'meshlet-no-such-token',
    })
    assert.equal(code, 1, out)
    assert.match(err, /MESH_/)
    assert.doesNotMatch(err, /\n\s+at /, 'a message for people, no stack')
  })
}

async function statusAndTraffic(t: TestContext, { agent, admin, proxyPort, mqttPort }: Rig): Promise<void> {
  await t.test('status and version tell what runs', async () => {
    await agent.process.until('the hub is connected and its resources are there', async () => {
      const s = await agent.status()
      return (
        s?.control.link === 'connected' &&
        (s.config.resources['clusters'] ?? Object.values(s.config.resources).reduce((a, b) => a + b, 0)) > 0
      )
    })
    const json = await agent.cli(['status', ...admin, '--json'])
    const status = JSON.parse(json.out) as AgentStatus
    assert.equal(status.state, 'ready')
    assert.equal(status.certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
    const text = await agent.cli(['status', ...admin])
    assert.match(text.out, /spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway/)
    const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string }
    const told = await agent.cli(['version'])
    assert.equal(told.code, 0)
    assert.ok(told.out.includes(version), told.out)
    assert.equal((await agent.cli(['no-such-command'])).code, 2)
  })
  await t.test('HTTP by mesh name through the explicit proxy', async () => {
    await until(
      'the route is in force',
      async () => (await throughProxy(proxyPort, 'http://orders.cloud.svc.cluster.local/')).body === 'at once',
    )
  })
  await t.test('mqtt pub and mqtt sub', async () => {
    const broker = ['-h', '127.0.0.1', '-p', String(mqttPort)]
    assert.equal((await agent.cli(['mqtt', 'pub', ...broker, '-t', 'room/light', '-m', 'on', '-q', '1', '-r'])).code, 0)
    const { code, out } = await agent.cli(['mqtt', 'sub', ...broker, '-t', 'room/#', '-q', '2', '-v', '-C', '1'])
    assert.equal(code, 0)
    assert.equal(out, 'room/light on\n')
    assert.equal(
      (await agent.cli(['mqtt', 'pub', ...broker, '-t', 'telemetry/x', '-s', '-q', '2'], { input: 'for cloud' })).code,
      0,
    )
    await agent.process.until(
      'the message for the absent upstream waits in the spool',
      async () => (await agent.status())?.spool.messages === 1,
    )
  })
}

async function stopAndStart(
  t: TestContext,
  { app, proxyPort, control, credentials, agent, admin }: Rig,
): Promise<void> {
  await t.test('SIGTERM lets an open request finish, takes no new connection, and ends with 0', async () => {
    const open = throughProxy(proxyPort, 'http://orders.cloud.svc.cluster.local/slow')
    await app.slow
    const stopping = agent.process.stop('SIGTERM')
    await until('the proxy port is closed', () =>
      throughProxy(proxyPort, 'http://orders.cloud.svc.cluster.local/').then(
        () => false,
        () => true,
      ),
    )
    app.release()
    assert.deepEqual(await open, { status: 200, body: 'late' })
    assert.equal(await stopping, 0, agent.process.log.slice(-3000))
  })
  await t.test(
    'started again without a token and without the hub it serves, and what it had acknowledged is there',
    async () => {
      fs.rmSync(path.join(credentials, 'token'))
      await control.process.stop()
      await agent.start()
      assert.equal((await throughProxy(proxyPort, 'http://orders.cloud.svc.cluster.local/')).body, 'at once')
      assert.equal((await agent.status())?.spool.messages, 1)
    },
  )
  await t.test('drain stops it with 0', async () => {
    const { code, err } = await agent.cli(['drain', ...admin])
    assert.equal(code, 0, err)
    assert.equal(await agent.process.ended, 0)
    assert.equal((await agent.cli(['status', ...admin])).code, 1, 'nobody answers any more')
  })
}

for (const file of ['x64/meshlet.cjs', 'arm64/meshlet.cjs', 'x64/meshlet-hub.cjs', 'arm64/meshlet-hub.cjs']) {
  test(`dist/${file} is one file that knows no path, user or host of the machine that built it`, () => {
    const text = fs.readFileSync(path.join(ROOT, 'dist', file), 'latin1')
    if (file.endsWith('/meshlet.cjs')) assert.ok(text.length <= MAX_AGENT_BYTES, `${text.length} bytes`)
    const table = JSON.parse(/^var PARTS = (\{"version".*\})$/m.exec(text)![1]!) as {
      addon: { fromEnd: number; length: number }
    }
    const from = text.length - table.addon.fromEnd
    const addon = zstdDecompressSync(Buffer.from(text.slice(from + '//'.length, from + table.addon.length), 'base64'))
    assert.equal(addon.toString('latin1', 1, 4), 'ELF')
    for (const part of [Buffer.from(text, 'latin1'), addon])
      for (const told of [ROOT, `${os.homedir()}/`, os.hostname(), '.npmrc']) {
        // The home of the administrator is a path of every machine.
        if (told.length < 5 || (told === `${os.homedir()}/` && os.userInfo().uid === 0)) continue
        const at = part.indexOf(told)
        assert.equal(at, -1, `${told}: …${part.subarray(Math.max(0, at - 60), at + 60).toString('latin1')}…`)
      }
  })
}

test('a start takes what `meshlet precompile` has compiled: V8 compares its flags, which the agent must not have changed', async (t) => {
  const folder = temporaryFolder(t)
  const bundle = path.join(folder, 'meshlet.cjs')
  fs.copyFileSync(distFile('meshlet.cjs'), bundle)
  const reports = path.join(folder, 'reports.cjs')
  fs.writeFileSync(
    reports,
    `const vm = require('node:vm')
vm.Script = class extends vm.Script {
  constructor(text, options) {
    super(text, options)
    if (options?.filename?.endsWith('#program')) console.error('rejected:', this.cachedDataRejected)
  }
}
`,
  )
  const options = { cwd: folder }
  assert.equal((await run(process.execPath, [bundle, 'precompile'], options)).code, 0)
  const { err } = await run(process.execPath, ['--require', reports, bundle, 'version'], options)
  assert.equal(err, 'rejected: false\n')
})

test('package-lock.json names no registry: it works with whatever registry the machine has', () => {
  const lock = fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')
  assert.doesNotMatch(lock, /"resolved"\s*:|https?:\/\/[^"]*\.tgz/)
  for (const [name, p] of Object.entries(
    (JSON.parse(lock) as { packages: Record<string, { integrity?: string; link?: boolean }> }).packages,
  )) {
    if (name !== '' && !p.link) assert.match(p.integrity ?? '', /^sha512-/, `${name} has a checksum`)
  }
})
