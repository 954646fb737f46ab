/** `systemctl reload`: SIGHUP and `meshlet reload`, sent to the agent as it is started. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { freePorts } from '../../../tools/free-ports.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const MAIN = path.resolve(import.meta.dirname, '../../../agent/main.ts')

test(
  'changed rules count for a connection that is open; a wrong file changes nothing; a port is moved; what needs a restart is named',
  { timeout: 60_000 },
  async (t) => {
    const [port, moved, adminPort] = (await freePorts(3)) as [number, number, number]
    const folder = temporaryFolder(t)
    fs.mkdirSync(path.join(folder, 'resources'))
    const file = path.join(folder, 'agent.yaml')
    const write = (allowed: string, p = port): void =>
      fs.writeFileSync(
        file,
        `directory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: ${adminPort}}\n` +
          `listeners: [{name: mqtt, kind: mqtt, port: ${p}}]\nmqtt: {rules: [{action: publish, topics: [${allowed}], effect: allow}]}\n`,
      )
    write('a/#')
    const { agent, until, cli } = spawnAgent(t, file, adminPort)
    await until('"evt":"agent.started"')
    const client = await connectAsync({ host: '127.0.0.1', port, protocolVersion: 5, reconnectPeriod: 0 })
    const publish = (topic: string): Promise<string> =>
      client.publishAsync(topic, 'x', { qos: 1 }).then(
        () => 'taken',
        (err: { code?: number }) => `0x${err.code?.toString(16)}`,
      )
    assert.deepEqual([await publish('a/1'), await publish('b/1')], ['taken', '0x87'])

    write('b/#')
    agent.kill('SIGHUP')
    await until('"evt":"config.reloaded"')
    for (let i = 0; i < 100 && (await publish('b/1')) !== 'taken'; i++) await pause(20)
    assert.deepEqual([await publish('a/1'), await publish('b/1')], ['0x87', 'taken'])

    fs.appendFileSync(file, 'mqtt2: {}\n')
    const wrong = cli('reload')
    assert.equal(wrong.status, 1)
    assert.match(wrong.text, /MESH_CONFIG_INVALID.*mqtt2.*What was in force stays/s)
    assert.deepEqual([await publish('a/1'), await publish('b/1')], ['0x87', 'taken'])
    assert.match(cli('status').text, /MESH_CONFIG_INVALID/)

    const closed = new Promise((resolve) => void client.once('close', () => resolve(undefined)))
    write('b/#', moved)
    fs.appendFileSync(file, 'limits: {idleMs: 1000}\n')
    const said = cli('reload')
    assert.deepEqual(
      [said.status, said.text],
      [
        0,
        'in force: listeners.mqtt.port\nfrom the next start on: limits.idleMs (buffers and counters are made with them)\n',
      ],
    )
    assert.match(cli('status').text, /MESH_CONFIG_RESTART/)
    await closed
    const next = await connectAsync({ host: '127.0.0.1', port: moved, protocolVersion: 5, reconnectPeriod: 0 })
    await next.endAsync(true)
  },
)

function spawnAgent(
  t: TestContext,
  file: string,
  adminPort: number,
): {
  readonly agent: ChildProcess
  readonly until: (text: string) => Promise<void>
  readonly cli: (...args: readonly string[]) => { status: number | null; text: string }
} {
  const agent = spawn(process.execPath, [MAIN, 'run', '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => agent.kill('SIGKILL'))
  let log = ''
  agent.stdout.on('data', (part: Buffer) => void (log += part.toString()))
  const until = async (text: string): Promise<void> => {
    for (let i = 0; i < 1_000 && !log.includes(text); i++) await pause(20)
    assert.ok(log.includes(text), `${text}\n${log}`)
  }
  const cli = (...args: readonly string[]): { status: number | null; text: string } => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [MAIN, ...args, '--admin', `127.0.0.1:${adminPort}`],
      { encoding: 'utf8' },
    )
    return { status, text: stdout + stderr }
  }
  return { agent, until, cli }
}
