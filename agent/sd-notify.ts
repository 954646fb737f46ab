/**
 * Tells systemd about start, stop and life (sd_notify(3)). Node has no datagram sockets of the Unix domain,
 * so the messages go through systemd-notify; the unit therefore says NotifyAccess=all.
 */
import type * as ChildProcess from 'node:child_process'
import { createRequire } from 'node:module'
import type { Clock } from '../core/os/clock.ts'
import type { Log } from '../core/log.ts'
import { detach, guard, doNothing } from '../core/defects/guard.ts'

export type ServiceManager = Disposable & {
  /** READY=1: the stored configuration is served, whatever the network does. */
  ready(status: string): void
  /** Shown by systemctl status. */
  status(status: string): void
  stopping(): void
}
type Options = {
  /** $NOTIFY_SOCKET; undefined = not started by systemd, then nothing is done. */
  readonly notifySocket: string | undefined
  /** $WATCHDOG_USEC / 1000; a sign of life is sent every half of it while `alive` says so. */
  readonly watchdogMs: number | undefined
  readonly alive: () => boolean
  readonly clock: Clock
  readonly log: Log
  /** Calls back with an error when it did not work. Left out: systemd-notify. */
  readonly run?: (assignments: readonly string[], done: (err: Error | null) => void) => void
}

/**
 * A start that reads a large spool may take its time: systemd gives up after so much more (TimeoutStartSec) unless it
 * hears again.
 */
const EXTEND_MS = 60_000

export function createServiceManager({
  notifySocket,
  watchdogMs,
  alive,
  clock,
  log,
  run = systemdNotify,
}: Options): ServiceManager {
  const stop = new AbortController()
  const started = new AbortController()
  let last: Promise<void> = Promise.resolve()
  // One after the other: each is a process of its own, and the last word counts. As assignments, which every version
  // knows; options like --stopping are younger.
  const send = (...assignments: string[]): void => {
    if (notifySocket === undefined) return
    last = last.then(
      () =>
        new Promise<void>((resolve) => {
          run(assignments, (err) => {
            if (err) log.warn({ evt: 'systemd.notify', err }, 'systemd-notify failed')
            resolve()
          })
        }),
    )
  }
  const every = async (ms: number, signal: AbortSignal, fn: () => void): Promise<void> => {
    try {
      for (;;) {
        await clock.sleep(ms, signal)
        fn()
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown
    }
  }
  if (notifySocket !== undefined) {
    if (watchdogMs !== undefined)
      detach(
        'process',
        every(watchdogMs / 2, stop.signal, () => {
          if (alive()) send('WATCHDOG=1')
        }),
      )
    detach(
      'process',
      every(EXTEND_MS / 3, AbortSignal.any([started.signal, stop.signal]), () =>
        send(`EXTEND_TIMEOUT_USEC=${EXTEND_MS * 1000}`),
      ),
    )
  }
  return {
    ready: (status) => {
      started.abort()
      send('READY=1', `STATUS=${oneLine(status)}`)
    },
    status: (status) => send(`STATUS=${oneLine(status)}`),
    stopping: () => send('STOPPING=1'),
    [Symbol.dispose]: () => stop.abort(),
  }
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ')

function systemdNotify(assignments: readonly string[], done: (err: Error | null) => void): void {
  const { execFile } = createRequire(import.meta.url)('node:child_process') as typeof ChildProcess
  execFile('systemd-notify', assignments, guard('process', doNothing, done))
}
