/** The program itself, with a reader of its log that stalls: it goes on, stays small and ends when it is told to. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import http from 'node:http'
import path from 'node:path'
import { freePorts } from '../../../tools/free-ports.ts'
import { until } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const MAIN = path.resolve(import.meta.dirname, '../../../agent/main.ts')

async function ask(port: number, page: string): Promise<string> {
  const req = http.get({ host: '127.0.0.1', port, path: page, agent: false })
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  return (await res.toArray()).join('')
}

async function start(
  t: { after(fn: () => void): void },
  stdout: 'pipe' | number = 'pipe',
  env: NodeJS.ProcessEnv = {},
): Promise<{ child: ChildProcess; admin: number; mqtt: number }> {
  const folder = temporaryFolder(t)
  const [admin, mqtt] = (await freePorts(2)) as [number, number]
  fs.mkdirSync(path.join(folder, 'resources'))
  fs.writeFileSync(
    path.join(folder, 'agent.yaml'),
    `directory: ${folder}/resources\nstate: ${folder}/state\nadmin: {port: ${admin}}\nlisteners: [{name: mqtt, kind: mqtt, port: ${mqtt}}]\n`,
  )
  const child = spawn(process.execPath, [MAIN, 'run', '--config', path.join(folder, 'agent.yaml')], {
    stdio: ['ignore', stdout, 'inherit'],
    env: { ...process.env, ...env },
  })
  t.after(() => {
    child.kill('SIGKILL')
  })
  await until('it is ready', () =>
    ask(admin, '/ready').then(
      (text) => text.startsWith('LIVE'),
      () => false,
    ),
  )
  return { child, admin, mqtt }
}

/** A client that speaks no MQTT; each is a reason for a line. */
async function garbage(port: number): Promise<void> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  socket.write('GET / HTTP/1.1\r\n\r\n')
  socket.resume()
  await once(socket, 'close')
}

test('garbage connections by the thousand write a few lines; the rest is counted', async (t) => {
  const { child, admin, mqtt } = await start(t)
  let text = ''
  child.stdout!.on('data', (part: Buffer) => {
    text += part.toString()
  })
  for (let i = 0; i < 40; i++) await Promise.all(Array.from({ length: 25 }, () => garbage(mqtt)))
  const lines = (): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter((l) => l !== '')
      .map((l) => JSON.parse(l) as Record<string, unknown>)
  const counted = /mesh_log_lines_left_out_total: (\d+)/.exec(await ask(admin, '/stats'))?.[1]
  assert.ok(Number(counted) >= 900, `${counted}`)
  child.kill('SIGTERM')
  await once(child, 'exit')
  const ofKind = lines().filter((l) => l['evt'] === 'connection.refused').length
  assert.ok(ofKind <= 30, `${ofKind} lines`)
  const left = lines()
    .filter((l) => l['evt'] === 'log.left-out')
    .reduce((sum, l) => sum + Number(l['lines']), 0)
  assert.equal(ofKind + left, 1_000, 'none is forgotten')
})

test('nobody reads the log: the agent serves, drops lines with a count, and SIGTERM ends it', async (t) => {
  const { child, admin, mqtt } = await start(t)
  // Access logs are not limited in number; here /logging changes make lines enough: debug tells every connection.
  await new Promise((resolve) => {
    http
      .request(
        { host: '127.0.0.1', port: admin, path: '/logging?level=debug', method: 'POST', agent: false },
        (res) => {
          res.resume()
          res.once('end', resolve)
        },
      )
      .end()
  })
  child.stdout!.pause()
  const dropped = async (): Promise<number> =>
    Number(/mesh_log_lines_dropped_total: (\d+)/.exec(await ask(admin, '/stats'))?.[1])
  await until('lines are dropped', async () => {
    await Promise.all(Array.from({ length: 100 }, () => quick(mqtt)))
    return (await dropped()) > 0
  })
  assert.match(await ask(admin, '/ready'), /LIVE/)
  child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number]
  assert.equal(code, 0)
})

test('standard output that is the journal gets priorities; another file with the same variable does not', async (t) => {
  for (const isJournal of [true, false]) {
    const file = path.join(temporaryFolder(t), 'log')
    const fd = fs.openSync(file, 'w')
    const { dev, ino } = fs.fstatSync(fd)
    const { child } = await start(t, fd, { JOURNAL_STREAM: `${dev}:${isJournal ? ino : ino + 1}` })
    child.kill('SIGTERM')
    const [code] = (await once(child, 'exit')) as [number]
    fs.closeSync(fd)
    const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n')
    assert.equal(code, 0)
    assert.ok(lines.length > 3)
    assert.deepEqual(new Set(lines.map((l) => l.slice(0, l.indexOf('{')))), new Set([isJournal ? '<6>' : '']))
  }
})

/** A connection that comes and goes: a line at debug. */
async function quick(port: number): Promise<void> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  socket.resume()
  socket.end()
  await once(socket, 'close')
}
