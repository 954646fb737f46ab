/**
 * Both images as build-oci.ts makes them, unpacked and looked at; the arm64 one runs under qemu-user on a read-only
 * root as its own user.
 */
import { before, test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { serveHttp } from '../../helpers/serve-http.ts'
import { run, start, temporaryFolder, until, type Finally } from '../programs.ts'
import { directoryMode, hostRoutes, staticCluster, writeResources } from './shipped.ts'

const ROOT = path.resolve(import.meta.dirname, '../../..')
const USER = '65532:65532'
const { version: VERSION } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string }

/** Runs a script with a mount namespace of its own, so that its mounts end with it. */
const NAMESPACE = ['--mount', '--propagation', 'private', '/bin/sh', '-euc']

type ImageConfig = {
  architecture: string
  os: string
  created: string
  config: {
    Env: string[]
    Healthcheck: { Test: string[] }
    User: string
    Entrypoint: string[]
    Cmd: string[]
    WorkingDir: string
    Volumes: Record<string, object>
    Labels: Record<string, string>
  }
}
type Manifest = { config: { digest: string }; layers: { digest: string; mediaType: string }[] }

/** Unpacks an OCI archive's layers into one folder, as root with its owners and modes. */
function unpacked(t: Finally, arch: string): { config: ImageConfig; rootfs: string } {
  const folder = temporaryFolder(t, 0o755)
  const layout = path.join(folder, 'layout')
  const rootfs = path.join(folder, 'rootfs')
  for (const dir of [layout, rootfs]) fs.mkdirSync(dir)
  execFileSync('tar', ['xf', path.join(ROOT, `dist/oci/meshlet-${arch}.tar`), '-C', layout])
  const blob = (digest: string): string => path.join(layout, 'blobs', digest.replace(':', '/'))
  const json = <T>(file: string): T => JSON.parse(fs.readFileSync(file, 'utf8')) as T
  const { manifests } = json<{ manifests: { digest: string }[] }>(path.join(layout, 'index.json'))
  assert.equal(manifests.length, 1)
  const manifest = json<Manifest>(blob(manifests[0]!.digest))
  for (const layer of manifest.layers) execFileSync('tar', ['xpf', blob(layer.digest), '--numeric-owner', '-C', rootfs])
  return { config: json<ImageConfig>(blob(manifest.config.digest)), rootfs }
}

before(
  () => {
    execFileSync(process.execPath, [path.join(ROOT, 'tools/build/build-oci.ts')], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  },
  { timeout: 600_000 },
)

for (const { arch, machine } of [
  { arch: 'arm64', machine: 0xb7 },
  { arch: 'amd64', machine: 0x3e },
]) {
  test(`the ${arch} image: no root, no shell, nothing that its user could change but its state`, (t) => {
    const { config, rootfs } = unpacked(t, arch)
    assert.deepEqual(
      { arch: config.architecture, os: config.os, user: config.config.User },
      { arch, os: 'linux', user: USER },
    )
    assert.deepEqual(config.config.Entrypoint, [
      '/usr/bin/node',
      '--max-semi-space-size=4',
      '--v8-pool-size=1',
      '/usr/lib/meshlet/meshlet.cjs',
    ])
    assert.deepEqual(config.config.Cmd, ['run', '--config', '/etc/meshlet/agent.yaml'])
    assert.deepEqual(Object.keys(config.config.Volumes), ['/var/lib/meshlet'])
    const files = fs
      .readdirSync(rootfs, { recursive: true, encoding: 'utf8' })
      .map((name) => ({ name, stat: fs.lstatSync(path.join(rootfs, name)) }))
    for (const { name, stat } of files) {
      if (name === 'var/lib/meshlet') {
        assert.deepEqual([stat.uid, stat.gid, stat.mode & 0o777], [65532, 65532, 0o700])
        continue
      }
      assert.deepEqual([stat.uid, stat.gid], [0, 0], `${name} belongs to root`)
      if (stat.isSymbolicLink()) continue
      assert.equal(
        stat.mode & 0o6002,
        0,
        `${name} has mode ${(stat.mode & 0o7777).toString(8)}: setuid or writable by all`,
      )
      assert.notEqual(stat.mode & 0o005, 0, `${name} can be read by the image's user`)
    }
    const names = files.map((f) => f.name)
    assert.deepEqual(
      names.filter((n) => /(^|\/)(sh|bash|dash|busybox|apt|dpkg|npm|openssl|perl)$/.test(n)),
      [],
      'no tools for an intruder',
    )
    const elf = fs.readFileSync(path.join(rootfs, 'usr/bin/node')).readUInt16LE(18)
    assert.equal(elf, machine, 'node is for this architecture')
    const dist = arch === 'arm64' ? 'arm64' : 'x64'
    assert.deepEqual(
      fs.readFileSync(path.join(rootfs, 'usr/lib/meshlet/meshlet.cjs')),
      fs.readFileSync(path.join(ROOT, 'dist', dist, 'meshlet.cjs')),
      'the bundle of this build',
    )
  })

  test(`the ${arch} image says what it is: date, version, environment of the unit, health check, licences`, (t) => {
    const { config, rootfs } = unpacked(t, arch)
    const committed = new Date(
      Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' })) * 1_000,
    )
    assert.equal(new Date(config.created).getTime(), committed.getTime())
    assert.equal(config.config.Labels['org.opencontainers.image.version'], VERSION)
    assert.deepEqual(config.config.Healthcheck.Test, ['CMD', '/usr/bin/meshlet', 'status', '--ready'])
    const unit = fs.readFileSync(path.join(ROOT, 'deploy/edge/meshlet.service'), 'utf8')
    for (const one of [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap((m) => m[1]!.split(' ')))
      assert.ok(config.config.Env.includes(one), one)
    const licences = fs.readdirSync(path.join(rootfs, 'usr/share/licenses'))
    for (const what of ['meshlet', 'node', 'libc6', 'gcc-12-base', 'better-sqlite3', '@grpc-grpc-js', 'ws', 'pino'])
      assert.ok(licences.includes(what), `${what} is inside: ${licences.join(' ')}`)
    for (const what of licences) assert.ok(fs.statSync(path.join(rootfs, 'usr/share/licenses', what)).size > 20, what)
  })
}

test('both are one archive with an index, and every archive has the name that `load` gives it', (t) => {
  for (const name of ['meshlet', 'meshlet-arm64', 'meshlet-amd64']) {
    const layout = temporaryFolder(t)
    execFileSync('tar', ['xf', path.join(ROOT, `dist/oci/${name}.tar`), '-C', layout])
    const json = <T>(file: string): T => JSON.parse(fs.readFileSync(path.join(layout, file), 'utf8')) as T
    const [top] = json<{ manifests: { digest: string; annotations: Record<string, string> }[] }>('index.json').manifests
    assert.equal(top!.annotations['org.opencontainers.image.ref.name'], `meshlet:${VERSION}`)
    assert.equal(top!.annotations['io.containerd.image.name'], `docker.io/library/meshlet:${VERSION}`)
    for (const file of fs.readdirSync(path.join(layout, 'blobs/sha256')))
      assert.equal(
        createHash('sha256')
          .update(fs.readFileSync(path.join(layout, 'blobs/sha256', file)))
          .digest('hex'),
        file,
      )
    if (name !== 'meshlet') continue
    const { manifests } = json<{ manifests: { platform: { architecture: string } }[] }>(
      `blobs/${top!.digest.replace(':', '/')}`,
    )
    assert.deepEqual(
      manifests.map((m) => m.platform.architecture),
      ['arm64', 'amd64'],
    )
  }
})

test(
  'an engine loads the archive under its name, and `meshlet` is a command in it',
  { timeout: 120_000 },
  async (t) => {
    const store = temporaryFolder(t, 0o755)
    const buildah = (...args: string[]): string =>
      execFileSync(
        findDebianProgram('buildah'),
        ['--root', `${store}/store`, '--runroot', `${store}/run`, '--storage-driver', 'vfs', ...args],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
      )
    buildah('pull', '--quiet', `oci-archive:${path.join(ROOT, 'dist/oci/meshlet-amd64.tar')}`)
    assert.match(buildah('images', '--format', '{{.Name}}:{{.Tag}}'), new RegExp(`meshlet:${VERSION}`))
    const { rootfs } = unpacked(t, 'amd64')
    for (const command of ['meshlet', 'meshlet-hub']) {
      const { out, err } = await run('unshare', [
        ...NAMESPACE,
        `exec chroot --userspec=${USER} ${rootfs} /usr/bin/${command} version`,
      ])
      assert.match(out, new RegExp(`^${command} ${VERSION}`), err)
    }
  },
)

test(
  'the arm64 image serves one HTTP request and one MQTT CONNECT under qemu-user, on a read-only root and without root rights',
  { timeout: 300_000 },
  async (t) => {
    const { config, rootfs } = unpacked(t, 'arm64')
    const originPort = await serveHttp(t, (req, res) => {
      res.end(`origin saw ${String(req.headers.host)}`)
    })
    const [adminPort, proxyPort, mqttPort] = (await freePorts(3)) as [number, number, number]

    // What an operator mounts: configuration (read-only) and a state volume.
    const etc = temporaryFolder(t, 0o755)
    writeResources(etc, [staticCluster('origin', originPort), hostRoutes('http_proxy', { 'app.mesh': 'origin' })])
    fs.writeFileSync(
      path.join(etc, 'agent.yaml'),
      directoryMode(
        '/etc/meshlet',
        adminPort,
        `listeners:\n- {name: http-proxy, kind: http_proxy, port: ${proxyPort}}\n- {name: mqtt, kind: mqtt, port: ${mqttPort}}\n`,
      ).replace('/etc/meshlet/state', '/var/lib/meshlet'),
    )
    const state = temporaryFolder(t)
    fs.chownSync(state, 65532, 65532)
    fs.copyFileSync(findDebianProgram('qemuArm64'), path.join(rootfs, 'qemu'))
    fs.chmodSync(path.join(rootfs, 'qemu'), 0o755)
    fs.mkdirSync(path.join(rootfs, 'proc'), { recursive: true })
    const inside = (command: string): string => `mount --bind ${rootfs} ${rootfs}
mount --bind ${etc} ${rootfs}/etc/meshlet
mount -o remount,bind,ro ${rootfs}/etc/meshlet
mount --bind ${state} ${rootfs}/var/lib/meshlet
mount -t proc proc ${rootfs}/proc
mount -o remount,bind,ro ${rootfs}
exec chroot --userspec=${USER} ${rootfs} /qemu ${command}`
    const [node, ...nodeArgs] = config.config.Entrypoint
    const told = await run('unshare', [
      ...NAMESPACE,
      inside(
        `${node} -p 'const fs = require("node:fs"); let ro; try { fs.writeFileSync("/x", ""); } catch (err) { ro = err.code } [process.arch, process.getuid(), ro].join(" ")'`,
      ),
    ])
    assert.equal(told.out.trim(), 'arm64 65532 EROFS', told.err)

    const agent = start(t, 'unshare', [...NAMESPACE, inside([node, ...nodeArgs, ...config.config.Cmd].join(' '))])
    await agent.until(
      'the agent is ready',
      async () =>
        fetch(`http://127.0.0.1:${adminPort}/ready`).then(
          (res) => res.status === 200,
          () => false,
        ),
      120_000,
    )
    const body = await agent.until('an HTTP answer', () => throughProxy(proxyPort), 60_000)
    assert.equal(body, 'origin saw app.mesh')
    assert.deepEqual([...(await mqttConnect(mqttPort))], [0x20, 2, 0, 0], 'CONNACK, accepted')
    await until('the state is on the volume', () => fs.readdirSync(state).length > 0)
    assert.equal(await agent.stop('SIGTERM'), 0, agent.log.slice(-3000))
  },
)

function throughProxy(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const req = http.get(
      { host: '127.0.0.1', port, path: 'http://app.mesh/', headers: { host: 'app.mesh' }, agent: false },
      (res) => {
        let body = ''
        res.on('data', (d: Buffer) => {
          body += d.toString()
        })
        res.on('end', () => {
          resolve(res.statusCode === 200 ? body : undefined)
        })
      },
    )
    req.on('error', () => {
      resolve(undefined)
    })
  })
}

/** The first packet after an MQTT 3.1.1 CONNECT with a clean session, keep alive 60 s and client id "q". */
async function mqttConnect(port: number): Promise<Buffer> {
  const socket = net.connect({ port, host: '127.0.0.1' })
  socket.write(Buffer.from([0x10, 13, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, 1, 0x71]))
  const [reply] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return reply
}
