/**
 * Tells systemd about start, stop and life (sd_notify(3)). Node has no datagram sockets of the Unix domain,
 * so the messages go through systemd-notify; the unit therefore says NotifyAccess=all.
 */
import type * as ChildProcess from 'node:child_process'
import { createRequire } from 'node:module'
import type { Clock } from './core/clock.ts'
import type { Log } from './core/log.ts'
import { detached } from './core/guard.ts'

export type ServiceManager = Disposable & {
  ready(status: string): void
  stopping(): void
}

/**
 * @param notifySocket $NOTIFY_SOCKET; undefined = not started by systemd, then nothing is done
 * @param watchdogMs $WATCHDOG_USEC / 1000; a sign of life is sent every half of it while `alive` says so
 */
export function serviceManager(p: { notifySocket: string | undefined; watchdogMs: number | undefined; alive: () => boolean; clock: Clock; log: Log }): ServiceManager {
  const stop = new AbortController()
  const send = (...args: string[]): void => {
    if (p.notifySocket === undefined) return
    const { execFile } = createRequire(import.meta.url)('node:child_process') as typeof ChildProcess
    execFile('systemd-notify', args, (err) => { if (err) p.log.warn({ evt: 'systemd.notify', err }, 'systemd-notify failed') })
  }
  const { watchdogMs } = p
  if (p.notifySocket !== undefined && watchdogMs !== undefined) detached('process', feed(watchdogMs / 2, stop.signal))
  return {
    ready: (status) => send('--ready', `--status=${status}`),
    stopping: () => send('--stopping'),
    [Symbol.dispose]: () => stop.abort(),
  }

  async function feed(everyMs: number, signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await p.clock.sleep(everyMs, signal)
        if (p.alive()) send('WATCHDOG=1')
      }
    } catch { /* aborted: the service is stopping */ }
  }
}
