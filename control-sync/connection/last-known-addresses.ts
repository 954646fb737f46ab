/**
 * The control plane's host names and what DNS last said of them, kept on disk: an uplink that comes back often comes
 * back without its DNS.
 */
import type { Clock } from '../../core/os/clock.ts'
import type { Disk } from '../../core/os/disk.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { detach } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import { ipBytes } from '../../model/ip.ts'

/** Addresses of a host, the system's preferred one first. Rejects with the OS error. */
export type Lookup = (host: string) => Promise<readonly string[]>
/** Rejects with MESH_CONTROL_UNREACHABLE when neither DNS nor the disk knows the host. */
export type ControlNames = (host: string) => Promise<readonly string[]>

/** The resolver of the C library waits 5 s per server and tries each twice. */
const LOOKUP_MS = 5_000
const MAX_HOSTS = 16
const MAX_ADDRESSES = 16

type Stored = Readonly<Record<string, readonly string[]>>

/** @param file JSON: host → addresses; a damaged one counts as empty */
export function listControlNames({
  lookup,
  disk,
  file,
  clock,
  log,
}: {
  readonly lookup: Lookup
  readonly disk: Disk
  readonly file: string
  readonly clock: Clock
  readonly log: Log
}): ControlNames {
  const keep = (host: string, addresses: readonly string[]): void => {
    const stored = read(disk, file)
    if (sameSet(stored[host] ?? [], addresses)) return
    const others = Object.entries(stored)
      .filter(([name]) => name !== host)
      .slice(-(MAX_HOSTS - 1))
    try {
      disk.replace(file, JSON.stringify(Object.fromEntries([...others, [host, addresses]])), 0o600)
    } catch (thrown) {
      log.warn(
        { evt: 'control.names-not-saved', err: toMeshError(thrown) },
        'the address of the control plane could not be stored',
      )
    }
  }
  return async (host) => {
    try {
      const found = (await within(clock, LOOKUP_MS, lookup(host))).filter((a) => ipBytes(a)).slice(0, MAX_ADDRESSES)
      if (found.length === 0) throw new Error('no address')
      keep(host, found)
      return found
    } catch (cause) {
      const stored = read(disk, file)[host] ?? []
      const why = cause instanceof Error ? cause.message : String(cause)
      if (stored.length === 0)
        throw new MeshError('MESH_CONTROL_UNREACHABLE', `the name ${host} cannot be resolved: ${why}`, { cause })
      log.info(
        { evt: 'control.names-stored', host, addresses: stored, why },
        'DNS does not know the control plane now; its last addresses are tried',
      )
      return stored
    }
  }
}

function read(disk: Disk, file: string): Stored {
  try {
    const json: unknown = JSON.parse(disk.read(file)?.toString('utf8') ?? '{}')
    if (typeof json !== 'object' || json === null) return {}
    return Object.fromEntries(
      Object.entries(json).flatMap(([host, addresses]) =>
        Array.isArray(addresses)
          ? [[host, addresses.filter((a): a is string => typeof a === 'string' && ipBytes(a) !== undefined)]]
          : [],
      ),
    )
  } catch {
    return {}
  }
}

/** DNS turns its answers round and round; that is no change. */
function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one))
}

function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = clock.after(ms, () => reject(new Error(`no answer within ${ms} ms`)))
    detach(
      'control',
      promise.then(resolve, reject).finally(() => late.cancel()),
    )
  })
}
