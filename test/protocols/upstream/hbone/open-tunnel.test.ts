/** The way to an endpoint of an ambient mesh, from the cluster's side: pools, identities, refusals and the end. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { MeshError } from '../../../../core/errors.ts'
import type { ConnectOptions, UpstreamStream } from '../../../../protocols/upstream-api.ts'
import { allow, HboneRig, until } from '../../hbone-rig.ts'

const OWN = 'spiffe://cluster.local/ns/edge/node'
function open(rig: HboneRig, more: Partial<ConnectOptions> = {}): Promise<UpstreamStream> {
  const { signal } = new AbortController()
  return rig.upstreams.connect(rig.ctx.tables.get().cluster('far')!, { signal, speaks: 'tcp', ...more })
}
async function failure(opening: Promise<UpstreamStream>): Promise<MeshError> {
  try {
    await opening
  } catch (thrown) {
    return thrown as MeshError
  }
  throw new Error('it was opened')
}
const textOf = async (made: UpstreamStream): Promise<string> => {
  let text = ''
  made.stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(made.stream, 'end')
  return text
}
const given = (rig: HboneRig): boolean => {
  const { mesh_upstream_connections: _pooled, mesh_connections_open: _tunnels, ...held } = rig.held()
  return Object.values(held).every((n) => n === 0)
}

test('many connections of a cluster are tunnels of one connection, each with its own end', async () => {
  await using rig = await HboneRig.open()
  rig.echo()
  const all = await Promise.all(Array.from({ length: 20 }, () => open(rig)))
  assert.equal(rig.metrics.total('mesh_connections_accepted_total', { direction: 'inbound' }), 21)
  for (const [i, made] of all.entries()) {
    made.stream.end(`tunnel ${i}`)
    assert.equal(await textOf(made), `TUNNEL ${i}`)
    made.release('ok')
  }
  assert.deepEqual(all[0]!.certificates?.peer?.uriSans, [rig.own.spiffeId.uri])
  await until('all is given back', () => given(rig))
})

test('HTTP of a cluster goes through a tunnel as through a connection', async () => {
  await using rig = await HboneRig.open()
  rig.app.on('connection', (socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'))
  })
  const made = await open(rig, { speaks: 'http1' })
  made.stream.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const [chunk] = (await once(made.stream, 'data')) as [Buffer]
  assert.match(chunk.toString(), /200 OK/)
  made.stream.destroy()
  await until('all is given back', () => given(rig))
})

test('who opens tunnels and is not whom the cluster expects gets no CONNECT', async () => {
  await using rig = await HboneRig.open({ expected: `${OWN}/other` })
  const error = await failure(open(rig))
  assert.equal(error.code, 'MESH_PEER_MISMATCH')
  assert.equal(rig.metrics.total('mesh_hbone_tunnels_total', { answer: '200' }), 0)
  await until('all is given back', () => given(rig))
})

test('a refusal is told with what it means, and is no connection', async () => {
  await using rig = await HboneRig.open({ policies: [allow('spiffe://cluster.local/ns/x/sa/y')] })
  const refused = await failure(open(rig))
  assert.equal(refused.code, 'MESH_TUNNEL_REFUSED')
  assert.match(refused.message, /401 .*policies/)
  rig.use([])
  rig.app.close()
  assert.match((await failure(open(rig))).message, /503 .*application/)
  await until('all is given back', () => given(rig))
})

test('a tunnel that is cut far away is a reset here; one that is given up here is one there', async () => {
  await using rig = await HboneRig.open()
  const cut = await open(rig)
  await until('the application is connected', () => rig.sockets.length === 1)
  rig.sockets[0]!.resetAndDestroy()
  const [error] = (await once(cut.stream, 'error')) as [MeshError]
  assert.equal(error.code, 'MESH_UPSTREAM_RESET')
  cut.release('failed')

  const left = await open(rig)
  await until('the application is connected again', () => rig.sockets.length === 2)
  let heard: NodeJS.ErrnoException | undefined
  rig.sockets[1]!.on('error', (err) => (heard = err)).resume()
  left.stream.destroy()
  await until('the application hears of it', () => heard !== undefined)
  assert.equal(heard?.code, 'ECONNRESET')
  await until('all is given back', () => given(rig))
})

test('who gives up while a tunnel is opened leaves nothing behind', async () => {
  await using rig = await HboneRig.open()
  const stop = new AbortController()
  const opening = open(rig, { signal: stop.signal })
  stop.abort(new Error('enough'))
  await assert.rejects(opening, /enough/)
  await until('all is given back', () => given(rig))
})

test('back-pressure: what nobody reads is not taken from the application without end', async () => {
  await using rig = await HboneRig.open()
  const made = await open(rig)
  made.stream.pause()
  await until('the application is connected', () => rig.sockets.length === 1)
  const [app] = rig.sockets
  let sent = 0
  for (let turns = 0; turns < 3_000 && sent < 64 * 1024 * 1024; turns++) {
    if (app!.writableLength === 0) {
      app!.write(Buffer.alloc(65_536))
      sent += 65_536
    }
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were taken`)
  made.stream.destroy()
  await until('all is given back', () => given(rig))
})
