import type { ListenFds } from '../core/listen-fds.ts'

/** What the command line touches of the process. */
export type Io = {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Sockets that the service manager passed. */
  readonly listenFds?: ListenFds
  readonly standardInput: () => Promise<Buffer>
  /** Resolves with its name when the process is asked to stop (SIGTERM, SIGINT). From the first call on those do not end it by themselves. */
  readonly stopRequested: () => Promise<string>
  /**
   * The start is over. `keepCode` is called some time later, once `isIdle` says that nobody is connected what only the start needed goes, and
   * with `inUse` the optimizing compilers begin to work.
   */
  readonly settled: (p: { keepCode(): void; isIdle(): boolean; inUse: Promise<void> }) => void
}
export const DEFAULT_CONFIG = '/etc/meshlet/agent.yaml'
