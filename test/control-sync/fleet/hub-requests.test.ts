/** What a hub can make a device do: what agent.yaml permits, whatever the hub says. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import { HubRequests, type HubRequestsOptions } from '../../../control-sync/fleet/hub-requests.ts'
import type { MeshError } from '../../../core/errors.ts'
import { silentLog } from '../../../core/log.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { systemNetwork } from '../../../core/os/network.ts'
import { packMessage, unpackMessage } from '../../../core/relay/compression.ts'
import type { Kind } from '../../../core/relay/kinds.ts'
import type { RelayStream } from '../../../core/relay/stream.ts'
import type { CommandRequest } from '../../../model/fleet/command.ts'
import { makeMuxPair } from '../../core/relay/mux-pair.ts'

const ASK: CommandRequest = { command: 'status', lines: 5, operator: 'operator:ada' }

function rig({ ports = [], ...over }: Partial<HubRequestsOptions> & { readonly ports?: readonly string[] } = {}) {
  const ran: CommandRequest[] = []
  const requests = new HubRequests({
    clock: systemClock,
    log: silentLog,
    permitted: { commands: ['status'], ports },
    run: async (request) => {
      ran.push(request)
      return { form: 'text', text: 'all is well' }
    },
    dial: async (to, signal) => (await systemNetwork.dial(to, signal)).stream,
    ...over,
  })
  const { agent, hub } = makeMuxPair({
    maxMessageBytes: 1_000_000,
    maxStreams: 16,
    onStream: (stream, head) => requests.accept(stream, head),
  })
  const ask = (text: string): Promise<string> => {
    const stream = hub.open('command')
    const said = answer(stream)
    stream.send(packMessage(Buffer.from(text), { withDictionary: false }))
    return said
  }
  const open = (kind: Kind, head: object = {}): RelayStream => hub.open(kind, Buffer.from(JSON.stringify(head)))
  return { ask, open, ran, requests, agent }
}
/** What the device says, or why it says nothing. */
function answer(stream: RelayStream): Promise<string> {
  return new Promise((resolve) => {
    stream.listen({
      onMessage: (message) => resolve(Buffer.from(unpackMessage(message, 1_000_000)).toString('utf8')),
      onReset: ({ code }: MeshError) => resolve(code),
    })
  })
}

test('a command that is permitted is carried out, with who asked', async () => {
  const { ask, ran } = rig()
  assert.deepEqual(JSON.parse(await ask(JSON.stringify(ASK))), { form: 'text', text: 'all is well' })
  assert.deepEqual(ran, [ASK])
})

test('what is not permitted, or is no command, is refused and changes nothing', async () => {
  const { ask, ran } = rig()
  for (const command of ['logs', 'reconnect', 'renew', 'reload', 'bug-report'])
    assert.equal(await ask(JSON.stringify({ ...ASK, command })), 'MESH_CONTROL_FORBIDDEN')
  for (const bad of [
    '',
    '[]',
    'null',
    '{"command":"rm -rf"}',
    JSON.stringify({ ...ASK, command: '__proto__' }),
    JSON.stringify({ ...ASK, operator: 'x'.repeat(200) }),
    JSON.stringify({ ...ASK, lines: 1e9 }),
  ])
    assert.equal(await ask(bad), 'MESH_CONTROL_PROTOCOL', bad)
  assert.equal(await ask(' '.repeat(100_000)), 'MESH_CONTROL_PROTOCOL')
  assert.deepEqual(ran, [])
})

test('the hub opens no stream of other kinds, and not many commands at once', async () => {
  const waits = Promise.withResolvers<never>()
  const { ask, open } = rig({ run: () => waits.promise })
  for (const kind of ['certificate', 'configuration', 'report'] as const)
    assert.equal(await answer(open(kind)), 'MESH_CONTROL_FORBIDDEN')
  const two = [ask(JSON.stringify(ASK)), ask(JSON.stringify(ASK))]
  assert.equal(await ask(JSON.stringify(ASK)), 'MESH_CONTROL_SLOW_DOWN')
  waits.reject(new Error('over'))
  assert.deepEqual(await Promise.all(two), ['MESH_INTERNAL', 'MESH_INTERNAL'])
})

async function listen(t: TestContext, serve: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true }, serve)
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done)
  })
  t.after(() => server.close())
  return (server.address() as net.AddressInfo).port
}
const head = (port: number, host = '127.0.0.1'): object => ({ host, port, operator: 'operator:ada' })

test('a port that is permitted is reached: bytes both ways, and each direction has its end', async (t) => {
  const port = await listen(t, (socket) => {
    const got: Buffer[] = []
    socket.on('data', (bytes) => got.push(Buffer.from(bytes)))
    // Answers once the other side has said all.
    socket.on('end', () => socket.end(Buffer.concat(got)))
  })
  const { open, agent } = rig({ ports: [`127.0.0.1:${port}`] })
  const sent = Buffer.alloc(3_000_000, 'x')
  const got: Buffer[] = []
  const stream = open('tunnel', head(port))
  const ended = new Promise<string>((resolve) => {
    stream.listen({
      onMessage: (m) => got.push(Buffer.from(m)),
      onEnd: () => resolve('end'),
      onReset: ({ code }) => resolve(code),
    })
  })
  for (let at = 0; at < sent.length; at += 50_000) stream.send(sent.subarray(at, at + 50_000))
  stream.end()
  assert.equal(await ended, 'end')
  assert.equal(Buffer.concat(got).equals(sent), true)
  assert.equal(agent.openStreams, 0)
})

test('no port is reached that agent.yaml does not name, nor another host under its number', async (t) => {
  let came = 0
  const port = await listen(t, () => came++)
  const other = await listen(t, () => came++)
  const { open } = rig({ ports: [`127.0.0.1:${port}`] })
  const refused = [
    head(other),
    head(port, 'localhost'),
    head(port, '0.0.0.0'),
    head(port, '127.0.0.2'),
    head(port, '[::1]'),
  ]
  for (const to of refused) assert.equal(await answer(open('tunnel', to)), 'MESH_CONTROL_FORBIDDEN', JSON.stringify(to))
  for (const bad of [
    {},
    { host: '127.0.0.1', port: `${port}`, operator: '' },
    { ...head(port), host: 'x'.repeat(300) },
  ])
    assert.equal(await answer(open('tunnel', bad)), 'MESH_CONTROL_PROTOCOL')
  assert.equal(await answer(rig().open('tunnel', head(port))), 'MESH_CONTROL_FORBIDDEN')
  assert.equal(came, 0)
})

test('not more connections than eight, and one that ends makes room', async (t) => {
  const sockets: net.Socket[] = []
  const port = await listen(t, (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.write('hello')
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  const { open } = rig({ ports: [`127.0.0.1:${port}`] })
  const greeted = (stream: RelayStream): Promise<string> =>
    new Promise((resolve) => {
      stream.listen({
        onMessage: (m) => {
          if (m.length > 0) resolve(Buffer.from(m).toString())
        },
        onReset: ({ code }) => resolve(code),
      })
    })
  const all = Array.from({ length: 8 }, () => open('tunnel', head(port)))
  assert.deepEqual(
    await Promise.all(all.map(greeted)),
    Array.from({ length: 8 }, () => 'hello'),
  )
  assert.equal(await greeted(open('tunnel', head(port))), 'MESH_CONTROL_SLOW_DOWN')
  const gone = new Promise<void>((done) => {
    sockets[0]!.once('close', () => done())
  })
  sockets[0]!.resetAndDestroy()
  await gone
  await new Promise((done) => {
    setTimeout(done, 50)
  })
  assert.equal(await greeted(open('tunnel', head(port))), 'hello')
})

test('a port that nobody listens at is told', async () => {
  const { open } = rig({ ports: ['127.0.0.1:1'] })
  assert.equal(await answer(open('tunnel', head(1))), 'MESH_CONTROL_UNREACHABLE')
})
