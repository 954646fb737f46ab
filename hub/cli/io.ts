/** What a command of the hub has of the process. */
import type { Duplex } from 'node:stream'
import type { LogOutput } from '../../core/log-output.ts'
import type { EnvironmentProxy } from '../../model/ip.ts'

export type Io = {
  /** Where the log of `run` goes; undefined: standard output, as it is. */
  readonly logOutput?: () => LogOutput
  /** Who types, where `sudo` says so; undefined: the user of this process. */
  readonly operator?: string | undefined
  /** Hub on another machine that commands ask where nothing says otherwise (MESHLET_HUB). */
  readonly hub?: string | undefined
  /** Where logins at hubs are kept; undefined: the environment names no place. */
  readonly savedLogins?: string | undefined
  /** Whether this machine can show one; undefined: nobody knows. */
  readonly hasBrowser?: boolean | undefined
  /** HTTPS_PROXY and NO_PROXY. Throws MESH_CONFIG_INVALID. */
  readonly readProxy?: (() => EnvironmentProxy | undefined) | undefined
  readonly standardInput?: () => Promise<Buffer>
  /** Asks on the terminal without showing what is typed; undefined: there is none. */
  readonly askSecret?: ((prompt: string) => Promise<string>) | undefined
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  /** Standard input and output as one. */
  readonly stdio?: () => Duplex
  /** Resolves with the reason when the program is asked to stop. */
  readonly stopRequested: () => Promise<string>
  readonly hearSignals?: (heard: (signal: string) => void) => Disposable
  /** Hears of what nobody caught until the result is disposed of (core/defects/last-line.ts). */
  readonly uncaught?: (heard: (thrown: unknown) => void) => Disposable
  /** The hub serves from now on, until it is asked to stop. */
  readonly serving?: () => void
  /** Ends the process with exit code 1 after so long, whatever it still does. */
  readonly giveUpAfter?: (ms: number) => void
}
