/**
 * `npm run build:oci [-- --arch arm64,amd64]`: dist/oci/meshlet-<arch>.tar, and dist/oci/meshlet.tar with an index of
 * both (OCI archives), without a container engine. From scratch: Node's official binary (npm), the Debian libraries
 * that it links, the bundles, the licences of all of them. Runs as user 65532 on a read-only root.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { BESIDE } from '../../core/runtime/bundle.ts'
import { findDebianProgram } from '../debian.ts'
import { readOptions } from '../options.ts'
import { readLicences } from './licences.ts'
import { withHealthcheck, writeArchive, type Image } from './oci-layout.ts'

const root = path.resolve(import.meta.dirname, '../..')
const cache = path.join(root, '.cache/oci')
const out = path.join(root, 'dist/oci')
/** The last has the licence of the three before it. */
const LIBRARIES = ['libc6', 'libstdc++6', 'libgcc-s1', 'libatomic1', 'gcc-12-base']
/** OCI's name → what npm, Debian and our dist call it. */
const ARCHITECTURES = {
  arm64: { npm: 'arm64', debian: 'arm64', dist: 'arm64' },
  amd64: { npm: 'x64', debian: 'amd64', dist: 'x64' },
} as const
type Arch = keyof typeof ARCHITECTURES
/** What Node needs at run time; the C library's other parts stay out. */
const KEEP =
  /\/(ld-linux[^/]*|lib(c|m|dl|pthread|rt|resolv|nss_files|nss_dns|stdc\+\+|gcc_s|atomic)\.so[^/]*|libstdc\+\+\.so[^/]*)$/

/** As the unit sets them (deploy/edge/meshlet.service). */
const ENVIRONMENT = ['PATH=/usr/bin', ...environmentOfUnit()]
/**
 * Whoever runs the image is told whether the agent serves, not whether all is well: a link that is down is no reason to
 * restart.
 */
const HEALTHCHECK = {
  Test: ['CMD', '/usr/bin/meshlet', 'status', '--ready'],
  Interval: 30e9,
  Timeout: 10e9,
  StartPeriod: 10e9,
  Retries: 3,
}

const { values } = readOptions(
  { options: { arch: { type: 'string', default: 'arm64,amd64' } } },
  `npm run build:oci -- [--arch ${Object.keys(ARCHITECTURES).join(',')}]`,
)
const { version, devDependencies } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  version: string
  devDependencies: { node: string }
}
const nodeVersion = devDependencies.node

sh(process.execPath, [path.join(root, 'tools/build/build.ts')], root)
fs.mkdirSync(out, { recursive: true })
const images: Image[] = []
for (const arch of values.arch.split(',')) {
  if (!(arch in ARCHITECTURES)) {
    console.error(`--arch knows ${Object.keys(ARCHITECTURES).join(', ')}, not ${arch}`)
    process.exit(2)
  }
  const image = commit(arch as Arch, prepareRootfs(arch as Arch))
  images.push(image)
  write(`meshlet-${arch}.tar`, [image])
}
if (images.length > 1) write('meshlet.tar', images)

function write(name: string, of: readonly Image[]): void {
  const archive = path.join(out, name)
  writeArchive(archive, of, `meshlet:${version}`)
  console.log(`dist/oci/${name} ${(fs.statSync(archive).size / 1024 / 1024).toFixed(1)} MiB`)
}

function environmentOfUnit(): string[] {
  const unit = fs.readFileSync(path.join(root, 'deploy/edge/meshlet.service'), 'utf8')
  return [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, line]) => line!.split(' '))
}

function prepareRootfs(arch: Arch): string {
  const names = ARCHITECTURES[arch]
  const rootfs = path.join(cache, arch, 'rootfs')
  fs.rmSync(rootfs, { recursive: true, force: true })
  for (const dir of [
    'usr/bin',
    'usr/lib/meshlet',
    'usr/share/licenses',
    'etc/meshlet',
    'var/lib',
    'run/meshlet',
    'tmp',
  ])
    fs.mkdirSync(path.join(rootfs, dir), { recursive: true })
  for (const deb of libraries(arch)) {
    const unpacked = fs.mkdtempSync(path.join(cache, 'deb-'))
    sh('dpkg-deb', ['-x', deb, unpacked], cache)
    for (const file of fs.globSync('{lib,lib64,usr/lib}/**/*', { cwd: unpacked })) {
      if (!KEEP.test(`/${file}`) || fs.statSync(path.join(unpacked, file), { throwIfNoEntry: false })?.isDirectory())
        continue
      const to = path.join(rootfs, file)
      fs.mkdirSync(path.dirname(to), { recursive: true })
      fs.cpSync(path.join(unpacked, file), to, { verbatimSymlinks: true })
    }
    for (const file of fs.globSync('usr/share/doc/*/copyright', { cwd: unpacked }))
      licence(rootfs, path.basename(path.dirname(file)), fs.readFileSync(path.join(unpacked, file), 'utf8'))
    fs.rmSync(unpacked, { recursive: true })
  }
  fs.copyFileSync(nodeBinary(names.npm), path.join(rootfs, 'usr/bin/node'))
  fs.chmodSync(path.join(rootfs, 'usr/bin/node'), 0o755)
  for (const bundle of ['meshlet.cjs', 'meshlet-hub.cjs'])
    fs.copyFileSync(path.join(root, 'dist', names.dist, bundle), path.join(rootfs, 'usr/lib/meshlet', bundle))
  precompile(path.join(rootfs, 'usr/lib/meshlet/meshlet.cjs'), names.npm)
  for (const program of ['meshlet', 'meshlet-hub'])
    fs.writeFileSync(
      path.join(rootfs, 'usr/bin', program),
      `#!/usr/bin/node\nrequire('/usr/lib/meshlet/${program}.cjs')\n`,
      { mode: 0o755 },
    )
  licence(rootfs, 'meshlet', fs.readFileSync(path.join(root, 'LICENSE'), 'utf8'))
  licence(rootfs, 'node', fs.readFileSync(path.join(path.dirname(nodeBinary(names.npm)), '../LICENSE'), 'utf8'))
  for (const [name, text] of readLicences(root)) licence(rootfs, name, text)
  fs.writeFileSync(path.join(rootfs, 'etc/passwd'), 'meshlet:x:65532:65532::/var/lib/meshlet:/sbin/nologin\n')
  fs.writeFileSync(path.join(rootfs, 'etc/group'), 'meshlet:x:65532:\n')
  fs.writeFileSync(path.join(rootfs, 'etc/nsswitch.conf'), 'hosts: files dns\n')
  return rootfs
}

/**
 * The agent's user may not write there. V8 compiles for the machine it runs on, so an image for another has its agent
 * compile at each start.
 */
function precompile(bundle: string, arch: string): void {
  if (arch === process.arch) {
    sh(process.execPath, [bundle, 'precompile'], path.dirname(bundle))
    return
  }
  const addon = fs.readFileSync(path.join(root, `node_modules/better-sqlite3/prebuilds/linux-${arch}.node`))
  fs.writeFileSync(bundle + BESIDE.addon, addon, { mode: 0o644 })
}

function licence(rootfs: string, of: string, text: string): void {
  const file = path.join(rootfs, 'usr/share/licenses', of.replace('/', '-'))
  fs.writeFileSync(file, text, { mode: 0o644 })
}

/** Debian packages of a foreign architecture, through an apt state of our own so that the machine's is not touched. */
function libraries(arch: Arch): string[] {
  const dir = path.join(cache, arch, 'debs')
  const complete = path.join(dir, `.complete-${LIBRARIES.length}`)
  if (!fs.existsSync(complete)) {
    const apt = path.join(cache, arch, 'apt')
    for (const d of ['lists/partial', 'cache/archives/partial']) fs.mkdirSync(path.join(apt, d), { recursive: true })
    fs.writeFileSync(path.join(apt, 'status'), '')
    fs.mkdirSync(dir, { recursive: true })
    const { debian } = ARCHITECTURES[arch]
    const options = [
      `APT::Architecture=${debian}`,
      `APT::Architectures=${debian}`,
      `Dir::State=${apt}`,
      `Dir::State::lists=${apt}/lists`,
      `Dir::State::status=${apt}/status`,
      `Dir::Cache=${apt}/cache`,
      'APT::Sandbox::User=root',
    ].flatMap((o) => ['-o', o])
    sh('apt-get', [...options, 'update', '-qq'], dir)
    sh('apt-get', [...options, 'download', '-qq', ...LIBRARIES], dir)
    fs.writeFileSync(complete, '')
  }
  return fs.globSync('*.deb', { cwd: dir }).map((f) => path.join(dir, f))
}

function nodeBinary(npmArch: string): string {
  const dir = path.join(cache, `node-${nodeVersion}-${npmArch}`)
  const binary = path.join(dir, 'package/bin/node')
  if (!fs.existsSync(path.join(dir, 'package/LICENSE'))) {
    fs.mkdirSync(dir, { recursive: true })
    const npm = process.env['npm_execpath']
    const pack = ['pack', '--silent', `node-linux-${npmArch}@${nodeVersion}`]
    const tgz = (npm ? sh(process.execPath, [npm, ...pack], dir) : sh('npm', pack, dir)).trim().split('\n').at(-1)!
    sh('tar', ['xzf', tgz, 'package/bin/node', 'package/LICENSE'], dir)
    fs.rmSync(path.join(dir, tgz))
  }
  return binary
}

function commit(arch: Arch, rootfs: string): Image {
  const store = path.join(cache, 'store')
  const buildah = (...args: string[]): string =>
    execFileSync(
      findDebianProgram('buildah'),
      ['--root', store, '--runroot', path.join(cache, 'run'), '--storage-driver', 'vfs', ...args],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    ).trim()
  const container = buildah('from', '--arch', arch, 'scratch')
  const layout = path.join(cache, arch, 'layout')
  fs.rmSync(layout, { recursive: true, force: true })
  try {
    buildah('copy', '--chown', '0:0', container, rootfs, '/')
    // As the content of a folder: --chown does not reach the folder that is itself the destination.
    const state = path.join(cache, arch, 'state')
    fs.mkdirSync(path.join(state, 'meshlet'), { recursive: true, mode: 0o700 })
    fs.chmodSync(path.join(state, 'meshlet'), 0o700)
    buildah('copy', '--chown', '65532:65532', container, state, '/var/lib')
    const labels = {
      licenses: 'Apache-2.0',
      title: 'meshlet',
      version,
      created: new Date(createdSec() * 1_000).toISOString(),
    }
    buildah(
      'config',
      '--arch',
      arch,
      '--user',
      '65532:65532',
      '--workingdir',
      '/var/lib/meshlet',
      '--volume',
      '/var/lib/meshlet',
      '--entrypoint',
      JSON.stringify(['/usr/bin/node', '--max-semi-space-size=4', '--v8-pool-size=1', '/usr/lib/meshlet/meshlet.cjs']),
      '--cmd',
      'run --config /etc/meshlet/agent.yaml',
      '--port',
      '1883',
      '--port',
      '8883',
      '--port',
      '15006',
      '--port',
      '15008',
      ...ENVIRONMENT.flatMap((one) => ['--env', one]),
      ...Object.entries(labels).flatMap(([name, value]) => ['--label', `org.opencontainers.image.${name}=${value}`]),
      container,
    )
    buildah('commit', '--timestamp', String(createdSec()), container, `oci:${layout}`)
  } finally {
    buildah('rm', container)
  }
  return withHealthcheck(layout, HEALTHCHECK)
}

/** From the commit and not from the clock, so that the same sources give the same image. */
function createdSec(): number {
  return Number(sh('git', ['log', '-1', '--format=%ct'], root))
}

function sh(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
