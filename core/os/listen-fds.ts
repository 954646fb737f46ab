/** Sockets that a service manager opened for this process: the environment of sd_listen_fds(3). */

/** `name`: FileDescriptorName= of the socket unit; systemd's word for none is `unknown`. */
export type PassedFd = { readonly fd: number; readonly name: string }
export type ListenFds = {
  readonly fds: readonly PassedFd[]
  /** Why there may be sockets of which nobody knows. */
  readonly problem?: string
}

const FIRST_FD = 3
/** More than any unit has; a number beyond is a mistake, not a promise of descriptors. */
const MAX_FDS = 1_024
const NONE: ListenFds = { fds: [] }

/**
 * What was passed to process `pid`, and takes it out of `env`, so that no child takes it for its own. A LISTEN_PID of
 * another process is no problem: the variables were meant for one that started this one.
 */
export function takeListenFds(env: Record<string, string | undefined>, pid: number): ListenFds {
  const { LISTEN_PID: forPid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = env
  if (forPid === undefined && count === undefined) return NONE
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID']) delete env[name]
  if (forPid === undefined || count === undefined) return NONE
  if (!isNumber(forPid)) return { fds: [], problem: `LISTEN_PID=${forPid} is not the number of a process` }
  if (Number(forPid) !== pid) return NONE
  if (!isNumber(count) || Number(count) > MAX_FDS)
    return { fds: [], problem: `LISTEN_FDS=${count} is not a number up to ${MAX_FDS}` }
  const named = names === undefined || names === '' ? [] : names.split(':')
  return { fds: Array.from({ length: Number(count) }, (_, i) => ({ fd: FIRST_FD + i, name: named[i] || 'unknown' })) }
}

function isNumber(text: string): boolean {
  return /^\d{1,9}$/.test(text)
}
