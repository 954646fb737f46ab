/**
 * A network of the test's own, for rules of iptables and routes that nobody else must see: it goes with the last
 * process in it.
 */
import { spawnSync } from 'node:child_process'
import { findDebianProgram, type DebianPeer } from '../../../../tools/debian.ts'

const INSIDE = 'MESHLET_TEST_NETWORK'

export const isInOwnNetwork = (): boolean => process.env[INSIDE] !== undefined

/**
 * The test file runs again, in a network namespace with loopback only; out here nothing follows. Needs root.
 * @param file import.meta.filename
 * @param programs that the file uses in there: nothing can be installed from inside
 * @param args of the file
 */
export function inOwnNetwork(file: string, programs: readonly DebianPeer[] = [], args: readonly string[] = []): void {
  for (const program of ['iptables', ...programs] as const) findDebianProgram(program)
  if (isInOwnNetwork()) {
    // An address that is not 127.0.0.0/8, and a way out that leads nowhere.
    shell('ip link set lo up', 'ip addr add 192.0.2.1/32 dev lo', 'ip route add default dev lo')
    return
  }
  const { status } = spawnSync('unshare', ['--net', process.execPath, ...process.execArgv, file, ...args], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  })
  process.exit(status ?? 1)
}

/** Each as root, to its end. Throws with what it said. */
export function shell(...commands: readonly string[]): void {
  for (const command of commands) {
    const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${command}: ${stderr}`)
  }
}
