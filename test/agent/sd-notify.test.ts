import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog, silentLog } from '../../core/log.ts'
import { createServiceManager, type ServiceManager } from '../../agent/sd-notify.ts'
import { settle, SimClock } from '../helpers/sim-clock.ts'

class Systemd {
  readonly clock = new SimClock()
  readonly heard: string[][] = []
  isAlive = true
  readonly #waiting: (() => void)[] = []
  readonly service: ServiceManager
  constructor(
    o: { readonly watchdogMs?: number; readonly notifySocket?: string | undefined; readonly slow?: true } = {},
  ) {
    this.service = createServiceManager({
      notifySocket: '/run/systemd/notify',
      watchdogMs: undefined,
      clock: this.clock,
      log: silentLog,
      ...o,
      alive: () => this.isAlive,
      run: (assignments, done) => {
        this.heard.push([...assignments])
        if (o.slow)
          this.#waiting.push(() => {
            done(null)
          })
        else done(null)
      },
    })
  }
  ended(): void {
    this.#waiting.shift()?.()
  }
  async after(ms: number): Promise<string[][]> {
    this.heard.length = 0
    await this.clock.advance(ms)
    await settle()
    return [...this.heard]
  }
}

test('ready, what waits, and the end are told as assignments, which every version of systemd-notify knows', async () => {
  const s = new Systemd()
  s.service.ready('waiting for\na certificate')
  s.service.status('serving as spiffe://x')
  s.service.stopping()
  await settle()
  assert.deepEqual(s.heard, [
    ['READY=1', 'STATUS=waiting for a certificate'],
    ['STATUS=serving as spiffe://x'],
    ['STOPPING=1'],
  ])
})
test('one word after the other: the second process is started when the first has ended', async () => {
  const s = new Systemd({ slow: true })
  s.service.ready('one')
  s.service.status('two')
  await settle()
  assert.equal(s.heard.length, 1)
  s.ended()
  await settle()
  assert.equal(s.heard.length, 2)
})
test('a start that takes long asks for more time, until it is ready', async () => {
  const s = new Systemd()
  assert.deepEqual(await s.after(45_000), [['EXTEND_TIMEOUT_USEC=60000000'], ['EXTEND_TIMEOUT_USEC=60000000']])
  s.service.ready('x')
  await settle()
  assert.deepEqual(await s.after(200_000), [])
})
test('the watchdog hears of life twice in its time, and of nothing else', async () => {
  const s = new Systemd({ watchdogMs: 30_000 })
  s.service.ready('x')
  await settle()
  assert.deepEqual(await s.after(30_000), [['WATCHDOG=1'], ['WATCHDOG=1']])
  s.isAlive = false
  assert.deepEqual(await s.after(30_000), [])
  s.isAlive = true
  s.service[Symbol.dispose]()
  assert.deepEqual(await s.after(60_000), [])
})
test('without systemd nothing is done; a systemd-notify that fails is told once for each word', async () => {
  const none = new Systemd({ notifySocket: undefined, watchdogMs: 30_000 })
  none.service.ready('x')
  assert.deepEqual(await none.after(60_000), [])
  const lines: string[] = []
  const service = createServiceManager({
    notifySocket: '/x',
    watchdogMs: undefined,
    alive: () => true,
    clock: new SimClock(),
    log: createLog('warn', {
      write: (line) => {
        lines.push(line)
      },
    }),
    run: (_, done) => {
      done(new Error('no such program'))
    },
  })
  service.ready('x')
  service.stopping()
  await settle()
  assert.equal(lines.filter((l) => l.includes('systemd.notify')).length, 2)
})
