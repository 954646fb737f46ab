/** Programs of Debian, installed by apt-get when they are not there (needs root and a Debian). */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'

/** Another run of the tests, or the machine itself, may be installing. */
const LOCK_SEC = 120

/** Debian package → the program it brings. */
const DEBIAN = {
  nginx: { packages: ['nginx-light'], program: '/usr/sbin/nginx' },
  haproxy: { packages: ['haproxy'], program: '/usr/sbin/haproxy' },
  tinyproxy: { packages: ['tinyproxy-bin'], program: '/usr/bin/tinyproxy' },
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
  chromium: { packages: ['chromium'], program: '/usr/bin/chromium' },
  postgres: { packages: ['postgresql'], program: '/usr/bin/pg_lsclusters' },
  openssl: { packages: ['openssl'], program: '/usr/bin/openssl' },
} as const
export type DebianPeer = keyof typeof DEBIAN
/** Path of the program; installs its package first when it is missing (needs root and a Debian). */
export function findDebianProgram(name: DebianPeer): string {
  const { packages, program } = DEBIAN[name]
  if (!fs.existsSync(program)) installDebian(packages)
  return program
}
let updated = false
export function installDebian(packages: readonly string[]): void {
  if (!updated) run('apt-get', ['update', '-qq'])
  updated = true
  // Debian starts services when it installs them; the tests start their own, on ports of their own.
  const policy = '/usr/sbin/policy-rc.d'
  const made = !fs.existsSync(policy)
  if (made) fs.writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    const options = ['-y', '-qq', '--no-install-recommends', '-o', `DPkg::Lock::Timeout=${LOCK_SEC}`]
    run('apt-get', ['install', ...options, ...packages], { DEBIAN_FRONTEND: 'noninteractive' })
  } finally {
    if (made) fs.rmSync(policy)
  }
}
export function run(command: string, args: string[], env: Record<string, string> = {}): string {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
  } catch (err) {
    const { stderr } = err as { stderr?: string }
    throw new Error(`${command} ${args.join(' ')} failed: ${stderr ?? String(err)}`, { cause: err })
  }
}
