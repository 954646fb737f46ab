/** Sockets that a process is born with, as systemd passes them: this process opens them, others take them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import path from 'node:path'
import readline from 'node:readline'
import type { Ask } from './inherited-sockets-child.ts'

type Finally = { after(fn: () => void): void }
const CHILD = path.join(import.meta.dirname, 'inherited-sockets-child.ts')

/** Listens, for processes that are started before `left`: this one would accept as well. */
async function held(host: string): Promise<{ readonly fd: number; readonly port: number; left(): void }> {
  const server = net.createServer()
  server.listen({ host, port: 0 })
  await once(server, 'listening')
  return {
    fd: (server as unknown as { _handle: { fd: number } })._handle.fd,
    port: (server.address() as net.AddressInfo).port,
    left: () => {
      server.close()
    },
  }
}

class Born {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>
  constructor(t: Finally, fds: readonly (number | 'ignore')[], names: string) {
    // The shell becomes the process: its number is known only in there.
    this.child = spawn('sh', ['-c', `LISTEN_PID=$$ exec ${process.execPath} ${CHILD}`], {
      stdio: ['pipe', 'pipe', 'inherit', ...fds],
      env: { PATH: process.env['PATH'], LISTEN_FDS: String(fds.length), LISTEN_FDNAMES: names },
    })
    this.#lines = readline.createInterface(this.child.stdout!)[Symbol.asyncIterator]()
    t.after(() => {
      this.child.kill('SIGKILL')
    })
  }
  async ask(ask: Ask): Promise<unknown> {
    this.child.stdin!.write(`${JSON.stringify(ask)}\n`)
    return JSON.parse(((await this.#lines.next()) as IteratorYieldResult<string>).value)
  }
  async end(): Promise<void> {
    this.child.kill('SIGTERM')
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit')
  }
}

/** What the process that accepts says of itself: its number, and the address at which it was met. */
function met(port: number, host = '127.0.0.1'): { readonly socket: net.Socket; readonly said: Promise<string> } {
  const socket = net.connect({ port, host })
  const said = once(socket, 'data').then(([data]) => String(data))
  return { socket, said }
}

test('a listener gets the socket with its address and port, others get a port of their own', async (t) => {
  const one = await held('127.0.0.1')
  const both = await held('::')
  const born = new Born(t, [one.fd, both.fd], 'one:both')
  for (const { left } of [one, both]) left()
  assert.deepEqual(await born.ask('unused'), [
    `no listener has the address of descriptor 3 (one): 127.0.0.1:${one.port}`,
    `no listener has the address of descriptor 4 (both): :::${both.port}`,
  ])
  assert.equal(await born.ask({ has: { host: '0.0.0.0', port: one.port } }), false)
  assert.deepEqual(
    await born.ask({ listen: { host: '127.0.0.1', port: 0 } }).then((o) => (o as { inherited: boolean }).inherited),
    false,
  )
  assert.equal(
    await born.ask({ listen: { host: '0.0.0.0', port: one.port } }),
    'EADDRINUSE',
    'a socket of one address is none for all',
  )
  assert.deepEqual(await born.ask({ listen: { host: '127.0.0.1', port: one.port } }), {
    port: one.port,
    inherited: true,
  })
  assert.equal(
    await born.ask({ listen: { host: '127.0.0.1', port: both.port } }),
    'EADDRINUSE',
    'a socket for all addresses is none for one',
  )
  assert.deepEqual(await born.ask({ listen: { host: '0.0.0.0', port: both.port } }), {
    port: both.port,
    inherited: true,
  })
  assert.equal(await born.ask({ has: { host: '0.0.0.0', port: both.port } }), true)
  assert.deepEqual(await born.ask('unused'), [])
  for (const { port } of [one, both]) assert.equal(await met(port).said, `${born.child.pid} 127.0.0.1`)
  assert.equal(await born.ask('child'), 0, 'programs that it starts get none of them')
})

test('nothing is accepted before a listener takes it, nor after it was closed: who connects meanwhile is served by the next process', async (t) => {
  const { fd, port, left } = await held('127.0.0.1')
  const at = { host: '127.0.0.1', port }
  const first = new Born(t, [fd], 'x')
  const second = new Born(t, [fd], 'x')
  left()
  const early = met(port)
  await once(early.socket, 'connect')
  assert.equal(await first.ask({ has: at }), true)
  await first.ask({ listen: at })
  assert.equal(await early.said, `${first.child.pid} 127.0.0.1`)
  await first.ask({ close: 0 })
  const late = met(port)
  await once(late.socket, 'connect')
  await first.end()
  await second.ask({ listen: at })
  assert.equal(await late.said, `${second.child.pid} 127.0.0.1`)
})

test('what is no listening TCP socket is told, and left alone', async (t) => {
  const born = new Born(t, ['ignore'], 'null')
  const [said] = (await born.ask('unused')) as string[]
  assert.match(said!, /^descriptor 3 \(null\) is no TCP socket \(/)
})
