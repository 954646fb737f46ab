/**
 * `npm run build:oci [-- --arch arm64,amd64]`: dist/oci/meshlet-<arch>.tar (OCI archives) without a container engine.
 * From scratch: Node's official binary (npm), the five Debian libraries that it links, the bundle. Runs as user 65532 on a read-only root.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { BESIDE } from '../../agent/core/bundle.ts'
import { debianProgram } from '../../test/conformance/peers.ts'
import { loadedPartOf } from './elf.ts'

const root = path.resolve(import.meta.dirname, '../..')
const cache = path.join(root, '.cache/oci')
const out = path.join(root, 'dist/oci')
const LIBRARIES = ['libc6', 'libstdc++6', 'libgcc-s1', 'libatomic1']
/** OCI's name → what npm, Debian and our dist call it. */
const ARCHITECTURES = { arm64: { npm: 'arm64', debian: 'arm64', dist: 'arm64' }, amd64: { npm: 'x64', debian: 'amd64', dist: 'x64' } } as const
type Arch = keyof typeof ARCHITECTURES
/** What Node needs at run time; the C library's other parts stay out. */
const KEEP = /\/(ld-linux[^/]*|lib(c|m|dl|pthread|rt|resolv|nss_files|nss_dns|stdc\+\+|gcc_s|atomic)\.so[^/]*|libstdc\+\+\.so[^/]*)$/

const { values } = parseArgs({ options: { arch: { type: 'string', default: 'arm64,amd64' } } })
const nodeVersion = (JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { devDependencies: { node: string } }).devDependencies.node

sh(process.execPath, [path.join(root, 'deploy/tools/build.ts')], root)
fs.mkdirSync(out, { recursive: true })
for (const arch of values.arch.split(',')) {
  if (!(arch in ARCHITECTURES)) { console.error(`--arch knows ${Object.keys(ARCHITECTURES).join(', ')}, not ${arch}`); process.exit(2) }
  const rootfs = prepareRootfs(arch as Arch)
  const archive = path.join(out, `meshlet-${arch}.tar`)
  commit(arch as Arch, rootfs, archive)
  console.log(`dist/oci/meshlet-${arch}.tar ${(fs.statSync(archive).size / 1024 / 1024).toFixed(1)} MiB`)
}

function prepareRootfs(arch: Arch): string {
  const names = ARCHITECTURES[arch]
  const rootfs = path.join(cache, arch, 'rootfs')
  fs.rmSync(rootfs, { recursive: true, force: true })
  for (const dir of ['usr/bin', 'usr/lib/meshlet', 'etc/meshlet', 'var/lib', 'run/meshlet', 'tmp']) fs.mkdirSync(path.join(rootfs, dir), { recursive: true })
  for (const deb of libraries(arch)) {
    const unpacked = fs.mkdtempSync(path.join(cache, 'deb-'))
    sh('dpkg-deb', ['-x', deb, unpacked], cache)
    for (const file of fs.globSync('{lib,lib64,usr/lib}/**/*', { cwd: unpacked })) {
      if (!KEEP.test(`/${file}`)) continue
      const to = path.join(rootfs, file)
      fs.mkdirSync(path.dirname(to), { recursive: true })
      fs.cpSync(path.join(unpacked, file), to, { verbatimSymlinks: true })
    }
    fs.rmSync(unpacked, { recursive: true })
  }
  fs.copyFileSync(nodeBinary(names.npm), path.join(rootfs, 'usr/bin/node'))
  fs.chmodSync(path.join(rootfs, 'usr/bin/node'), 0o755)
  for (const bundle of ['meshlet.cjs', 'meshlet-hub.cjs']) fs.copyFileSync(path.join(root, 'dist', names.dist, bundle), path.join(rootfs, 'usr/lib/meshlet', bundle))
  precompile(path.join(rootfs, 'usr/lib/meshlet/meshlet.cjs'), names.npm)
  fs.copyFileSync(path.join(root, 'LICENSE'), path.join(rootfs, 'usr/lib/meshlet/LICENSE'))
  fs.writeFileSync(path.join(rootfs, 'etc/passwd'), 'meshlet:x:65532:65532::/var/lib/meshlet:/sbin/nologin\n')
  fs.writeFileSync(path.join(rootfs, 'etc/group'), 'meshlet:x:65532:\n')
  fs.writeFileSync(path.join(rootfs, 'etc/nsswitch.conf'), 'hosts: files dns\n')
  return rootfs
}

/** The agent's user may not write there. V8 compiles for the machine it runs on, so an image for another has its agent compile at each start. */
function precompile(bundle: string, arch: string): void {
  if (arch === process.arch) { sh(process.execPath, [bundle, 'precompile'], path.dirname(bundle)); return }
  const addon = loadedPartOf(fs.readFileSync(path.join(root, `node_modules/better-sqlite3/prebuilds/linux-${arch}.node`)))
  fs.writeFileSync(bundle + BESIDE.addon, addon, { mode: 0o644 })
}

/** Debian packages of a foreign architecture, through an apt state of our own so that the machine's is not touched. */
function libraries(arch: Arch): string[] {
  const dir = path.join(cache, arch, 'debs')
  if (!fs.existsSync(path.join(dir, '.complete'))) {
    const apt = path.join(cache, arch, 'apt')
    for (const d of ['lists/partial', 'cache/archives/partial']) fs.mkdirSync(path.join(apt, d), { recursive: true })
    fs.writeFileSync(path.join(apt, 'status'), '')
    fs.mkdirSync(dir, { recursive: true })
    const { debian } = ARCHITECTURES[arch]
    const options = [`APT::Architecture=${debian}`, `APT::Architectures=${debian}`, `Dir::State=${apt}`, `Dir::State::lists=${apt}/lists`, `Dir::State::status=${apt}/status`, `Dir::Cache=${apt}/cache`, 'APT::Sandbox::User=root'].flatMap((o) => ['-o', o])
    sh('apt-get', [...options, 'update', '-qq'], dir)
    sh('apt-get', [...options, 'download', '-qq', ...LIBRARIES], dir)
    fs.writeFileSync(path.join(dir, '.complete'), '')
  }
  return fs.globSync('*.deb', { cwd: dir }).map((f) => path.join(dir, f))
}

function nodeBinary(npmArch: string): string {
  const dir = path.join(cache, `node-${nodeVersion}-${npmArch}`)
  const binary = path.join(dir, 'package/bin/node')
  if (!fs.existsSync(binary)) {
    fs.mkdirSync(dir, { recursive: true })
    const npm = process.env['npm_execpath']
    const pack = ['pack', '--silent', `node-linux-${npmArch}@${nodeVersion}`]
    const tgz = (npm ? sh(process.execPath, [npm, ...pack], dir) : sh('npm', pack, dir)).trim().split('\n').at(-1)!
    sh('tar', ['xzf', tgz, 'package/bin/node'], dir)
    fs.rmSync(path.join(dir, tgz))
  }
  return binary
}

function commit(arch: Arch, rootfs: string, archive: string): void {
  const store = path.join(cache, 'store')
  const buildah = (...args: string[]): string => execFileSync(debianProgram('buildah'), ['--root', store, '--runroot', path.join(cache, 'run'), '--storage-driver', 'vfs', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  const container = buildah('from', '--arch', arch, 'scratch')
  try {
    buildah('copy', '--chown', '0:0', container, rootfs, '/')
    // As the content of a folder: --chown does not reach the folder that is itself the destination.
    const state = path.join(cache, arch, 'state')
    fs.mkdirSync(path.join(state, 'meshlet'), { recursive: true, mode: 0o700 })
    fs.chmodSync(path.join(state, 'meshlet'), 0o700)
    buildah('copy', '--chown', '65532:65532', container, state, '/var/lib')
    buildah('config', '--arch', arch, '--user', '65532:65532', '--workingdir', '/var/lib/meshlet', '--volume', '/var/lib/meshlet',
      '--entrypoint', JSON.stringify(['/usr/bin/node', '--max-semi-space-size=8', '--v8-pool-size=1', '/usr/lib/meshlet/meshlet.cjs']), '--cmd', 'run --config /etc/meshlet/agent.yaml',
      '--port', '1883', '--port', '8883', '--port', '15006', '--port', '15008', '--label', 'org.opencontainers.image.licenses=Apache-2.0', '--label', 'org.opencontainers.image.title=meshlet', container)
    fs.rmSync(archive, { force: true })
    buildah('commit', '--timestamp', '0', container, `oci-archive:${archive}`)
  } finally { buildah('rm', container) }
}

function sh(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
