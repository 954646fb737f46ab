/** Signals, sent to the program as it is started. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { hearSignals, stopRequested, type SignalSource } from '../../../core/os/signals.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { testFolder } from '../site.ts'

const MAIN = path.resolve(import.meta.dirname, '../../../agent/main.ts')
const HUB = path.resolve(import.meta.dirname, '../../../hub/main.ts')

test(
  'SIGHUP, SIGUSR1 and SIGUSR2 are told and change nothing, no inspector is opened; SIGQUIT drains as SIGTERM does',
  { timeout: 60_000 },
  async (t) => {
    const folder = testFolder(t)
    const [port] = (await freePorts(1)) as [number]
    fs.mkdirSync(path.join(folder, 'resources'))
    fs.writeFileSync(
      path.join(folder, 'agent.yaml'),
      `directory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\nlisteners: [{name: mqtt, kind: mqtt, port: ${port}}]\n`,
    )
    const child = spawn(process.execPath, [MAIN, 'run', '--config', path.join(folder, 'agent.yaml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    t.after(() => {
      child.kill('SIGKILL')
    })
    let [log, errors] = ['', '']
    child.stdout.on('data', (part: Buffer) => {
      log += part.toString()
    })
    child.stderr.on('data', (part: Buffer) => {
      errors += part.toString()
    })
    const until = async (what: string, is: () => boolean): Promise<void> => {
      for (let i = 0; i < 1_000 && !is(); i++) await pause(20)
      assert.ok(is(), `${what}\n${log}\n${errors}`)
    }
    await until('it serves', () => log.includes('"evt":"agent.started"'))
    for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
      child.kill(signal)
      await until(`${signal} is told`, () => log.includes(`"evt":"agent.signal","signal":"${signal}"`))
    }
    assert.deepEqual([child.exitCode, child.signalCode, /inspector|Debugger/i.test(errors)], [null, null, false])
    const client = net.connect(port, '127.0.0.1').on('error', () => {})
    await once(client, 'connect')
    client.resume()
    child.kill('SIGQUIT')
    const [code] = (await once(child, 'close')) as [number]
    assert.equal(code, 0, errors)
    assert.match(log, /"evt":"agent\.stopping","reason":"SIGQUIT"/)
    assert.match(log, /"evt":"agent\.drained"/)
  },
)
test('the hub: the same', { timeout: 60_000 }, async (t) => {
  const folder = testFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  fs.writeFileSync(
    path.join(folder, 'hub.yaml'),
    `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: 0}\n`,
  )
  const child = spawn(process.execPath, [HUB, 'run', '--config', path.join(folder, 'hub.yaml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => {
    child.kill('SIGKILL')
  })
  let [log, errors] = ['', '']
  child.stdout.on('data', (part: Buffer) => {
    log += part.toString()
  })
  child.stderr.on('data', (part: Buffer) => {
    errors += part.toString()
  })
  const until = async (what: string, is: () => boolean): Promise<void> => {
    for (let i = 0; i < 1_000 && !is(); i++) await pause(20)
    assert.ok(is(), `${what}\n${log}\n${errors}`)
  }
  await until('it serves', () => log.includes('"evt":"hub.started"'))
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
    child.kill(signal)
    await until(`${signal} is told`, () => log.includes(`"evt":"hub.signal","signal":"${signal}"`))
  }
  assert.deepEqual([child.exitCode, child.signalCode, /inspector|Debugger/i.test(errors)], [null, null, false])
  child.kill('SIGQUIT')
  const [code] = (await once(child, 'close')) as [number]
  assert.equal(code, 0, errors)
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
