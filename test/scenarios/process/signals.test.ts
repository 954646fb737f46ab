/** Signals, sent to the program as it is started. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { hearSignals, stopRequested, type SignalSource } from '../../../core/os/signals.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const MAIN = path.resolve(import.meta.dirname, '../../../agent/main.ts')
const HUB = path.resolve(import.meta.dirname, '../../../hub/main.ts')

/** A program as it is started, with what it says. */
class Started {
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  log = ''
  errors = ''

  constructor(t: TestContext, ...args: readonly string[]) {
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    t.after(() => {
      this.child.kill('SIGKILL')
    })
    this.child.stdout.on('data', (part: Buffer) => {
      this.log += part.toString()
    })
    this.child.stderr.on('data', (part: Buffer) => {
      this.errors += part.toString()
    })
  }

  async until(what: string, is: () => boolean): Promise<void> {
    for (let i = 0; i < 1_000 && !is(); i++) await pause(20)
    assert.ok(is(), `${what}\n${this.log}\n${this.errors}`)
  }

  /** Those without effect: told, and nothing else happens. */
  async signals(program: 'agent' | 'hub'): Promise<void> {
    await this.until('it serves', () => this.log.includes(`"evt":"${program}.started"`))
    for (const signal of program === 'hub'
      ? (['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)
      : (['SIGUSR1', 'SIGUSR2'] as const)) {
      this.child.kill(signal)
      await this.until(`${signal} is told`, () => this.log.includes(`"evt":"${program}.signal","signal":"${signal}"`))
    }
    const { exitCode, signalCode } = this.child
    assert.deepEqual([exitCode, signalCode, /inspector|Debugger/i.test(this.errors)], [null, null, false])
  }

  async quit(): Promise<void> {
    this.child.kill('SIGQUIT')
    const [code] = (await once(this.child, 'close')) as [number]
    assert.equal(code, 0, this.errors)
  }
}

function folderWith(t: TestContext, name: string, yaml: (folder: string) => string): string {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  fs.writeFileSync(path.join(folder, name), yaml(folder))
  return path.join(folder, name)
}

test(
  'SIGUSR1 and SIGUSR2 are told and change nothing, no inspector is opened; SIGQUIT drains as SIGTERM does',
  { timeout: 60_000 },
  async (t) => {
    const [port] = (await freePorts(1)) as [number]
    const config = folderWith(
      t,
      'agent.yaml',
      (folder) =>
        `directory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\nlisteners: [{name: mqtt, kind: mqtt, port: ${port}}]\n`,
    )
    const agent = new Started(t, MAIN, 'run', '--config', config)
    await agent.signals('agent')
    const client = net.connect(port, '127.0.0.1').on('error', () => {})
    await once(client, 'connect')
    client.resume()
    await agent.quit()
    assert.match(agent.log, /"evt":"agent\.stopping","reason":"SIGQUIT"/)
    assert.match(agent.log, /"evt":"agent\.drained"/)
  },
)
test('the hub: the same', { timeout: 60_000 }, async (t) => {
  const config = folderWith(
    t,
    'hub.yaml',
    (folder) => `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\n`,
  )
  const hub = new Started(t, HUB, 'run', '--config', config)
  await hub.signals('hub')
  await hub.quit()
})
test('a terminal that is closed is an end; to a service SIGHUP is none', async () => {
  const on = async (isOnTerminal: boolean): Promise<string> => {
    const source = new EventEmitter()
    const asked = stopRequested(source as unknown as SignalSource, isOnTerminal)
    source.emit('SIGHUP')
    source.emit('SIGTERM')
    return asked
  }
  assert.deepEqual([await on(true), await on(false)], ['SIGHUP', 'SIGTERM'])
})
test('signals are heard until the program says otherwise', () => {
  const source = new EventEmitter()
  const heard: string[] = []
  const hearing = hearSignals(source as unknown as SignalSource, (signal) => {
    heard.push(signal)
  })
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2']) source.emit(signal)
  hearing[Symbol.dispose]()
  source.emit('SIGHUP')
  assert.deepEqual([heard, source.eventNames()], [['SIGHUP', 'SIGUSR1', 'SIGUSR2'], []])
})
