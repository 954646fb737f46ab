/**
 * The last line: what was thrown or rejected and neither caught nor guarded. Node's own answer is to end the process;
 * here that is decided by whose it is.
 */
import { logDefect } from './report.ts'
import { toMeshError } from '../errors.ts'
import { hasListeners, reportDefect } from './guard.ts'
import type { Log } from '../log.ts'

export type LastLine = Disposable & {
  /**
   * Resolves with the reason when something was uncaught that may have left anything half done: the process is to drain
   * and to end with an error.
   */
  readonly broken: Promise<string>
  readonly isBroken: boolean
}
export type LastLineIo = {
  readonly uncaught?: (heard: (thrown: unknown) => void) => Disposable
  readonly giveUpAfter?: (ms: number) => void
}

/** Every uncaught defect is logged and counted. @param drainMs after it the process is ended, drained or not */
export function openLastLine(io: LastLineIo, log: Log, drainMs: number): LastLine {
  const broken = Promise.withResolvers<string>()
  let isBroken = false
  const hearing = io.uncaught?.((thrown) => {
    // While the agent is being made nobody counts yet.
    if (hasListeners()) reportDefect('process', thrown)
    else logDefect(log, 'process', toMeshError(thrown))
    if (isBroken || isOfOneConnection(thrown)) return
    isBroken = true
    io.giveUpAfter?.(drainMs)
    broken.resolve("a defect that may be anybody's")
  })
  return {
    broken: broken.promise,
    get isBroken() {
      return isBroken
    },
    [Symbol.dispose]: () => hearing?.[Symbol.dispose](),
  }
}

/** `process`, or something like it. */
export type UncaughtSource = {
  on(event: 'uncaughtException' | 'unhandledRejection', heard: (thrown: unknown) => void): unknown
  off(event: 'uncaughtException' | 'unhandledRejection', heard: (thrown: unknown) => void): unknown
}

/** `heard` hears of everything uncaught until the result is disposed of; meanwhile Node ends nothing for it. */
export function hearUncaught(source: UncaughtSource, heard: (thrown: unknown) => void): Disposable {
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) source.on(event, heard)
  return {
    [Symbol.dispose]: () => {
      for (const event of ['uncaughtException', 'unhandledRejection'] as const) source.off(event, heard)
    },
  }
}

/** Modules of Node whose work is one socket, stream or session at a time. */
const OF_ONE_STREAM =
  /^node:(?:net|dgram|_tls_wrap|_http_\w+|internal\/(?:http2\/\w+|streams\/\w+|stream_base_commons|js_stream_socket|tls\/\S+?|crypto\/\S+?))$/
/** Modules that only pass calls on. */
const PASSING_ON =
  /^node:(?:events|async_hooks|internal\/(?:process\/task_queues|timers|async_hooks\S*|abort_controller|event_target|util\S*|errors))$/

/**
 * True when what was thrown is known to be about one connection: made and thrown within Node's own handling of one
 * stream, an `error` event that nobody listened to or a defect there. Nothing of ours was left half done then; the
 * stream is over, and whatever counted it hears of its end or reaches its deadline. With a single frame of ours nobody
 * knows which of our state is half changed.
 */
export function isOfOneConnection(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || typeof thrown.stack !== 'string') return false
  const modules = [
    ...thrown.stack.matchAll(/^\s+at .*?\(?((?:node:|file:|\/|[a-z]:\\|<|evalmachine)[^\s()]*?)(?::\d+)*\)?$/gim),
  ].map((m) => m[1]!)
  const lines = thrown.stack.split('\n').filter((line) => /^\s+at /.test(line)).length
  if (lines === 0 || modules.length !== lines) return false
  return modules.some((m) => OF_ONE_STREAM.test(m)) && modules.every((m) => OF_ONE_STREAM.test(m) || PASSING_ON.test(m))
}
