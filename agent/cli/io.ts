import type { LogOutput } from '../../core/log-output.ts'
import type { ListenFds } from '../../core/os/listen-fds.ts'
import type { World } from '../../core/world.ts'

type MemoryReleases = Pick<World, 'trimMalloc' | 'releaseMemory'>

/** What the command line touches of the process. */
export type Io = {
  /** Log of a program that keeps running; undefined = standard output. */
  readonly logOutput?: () => LogOutput
  readonly out: (text: string) => void
  /** Writes bytes unchanged; without it they go to `out`. */
  readonly outBytes?: (bytes: Uint8Array) => void
  readonly err: (text: string) => void
  /** `out` is a terminal. */
  readonly isTerminal?: boolean
  /** Of this process. */
  readonly pid?: number
  readonly env: Readonly<Record<string, string | undefined>>
  /** Sockets that the service manager passed. */
  readonly listenFds?: ListenFds
  readonly standardInput: () => Promise<Buffer>
  /** Asks on the terminal without showing what is typed; undefined: there is none. Rejects when it is broken off. */
  readonly askSecret?: ((prompt: string) => Promise<string>) | undefined
  /** The same in parts, each once it is there. */
  readonly standardInputParts?: () => AsyncIterable<Buffer>
  /**
   * Resolves with its name when the process is asked to stop (core/os/signals.ts). From the first call on those do not
   * end it by themselves.
   */
  readonly stopRequested: () => Promise<string>
  /** Hears of signals that have no effect until the result is disposed of; meanwhile they do not end the process. */
  readonly hearSignals?: (heard: (signal: string) => void) => Disposable
  /**
   * Hears of what nobody caught until the result is disposed of (core/defects/last-line.ts); the process is not ended
   * for it then.
   */
  readonly uncaught?: (heard: (thrown: unknown) => void) => Disposable
  /** Ends the process with exit code 1 after so long, whatever it still does. */
  readonly giveUpAfter?: (ms: number) => void
  /**
   * The start is over. The memory that only the start needed is given back once `isIdle` says that nobody is connected;
   * later the garbage of each change that `watch` reports. `memory`: what is outside of this thread's heap.
   */
  readonly settled: (p: { isIdle(): boolean; memory: MemoryReleases; watch(changed: () => void): void }) => void
}
export const DEFAULT_ADMIN = '127.0.0.1:15000'
export const DEFAULT_CONFIG = '/etc/meshlet/agent.yaml'
