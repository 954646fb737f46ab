/** The way to the hub, and who is at its end. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fleet } from '../../hub/relay/rig.ts'
import { passage } from './passage.ts'

const CONNECT = { certificateRefused: false }

test('the way leads through an HTTP proxy with credentials', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const { state, port } = await passage(t, f.h.hub.relayPort!, () => 'HTTP/1.1 200 OK\r\n\r\n')
  const findProxy = () => ({ address: { host: '127.0.0.1', port }, credentials: 'edge:secret', noProxy: [] })
  const link = f.link({ findProxy })
  await link.connect(CONNECT)
  assert.match(state.heads[0]!, new RegExp(`^CONNECT 127.0.0.1:${f.h.hub.relayPort} HTTP/1.1\r\n`))
  assert.match(state.heads[0]!, /\r\nProxy-Authorization: Basic ZWRnZTpzZWNyZXQ=\r\n/)
  link.closeIfUnusedSoon()
})

test('NO_PROXY is followed', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const findProxy = () => ({ address: { host: '127.0.0.1', port: 1 }, credentials: undefined, noProxy: ['127.0.0.1'] })
  const link = f.link({ findProxy })
  await link.connect(CONNECT)
  link.closeIfUnusedSoon()
})

for (const [what, answer, said] of [
  ['refuses', 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /407 Proxy Authentication Required/],
  ['speaks no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n', /SSH-2.0/],
  ['has no end', `HTTP/1.1 300 ${'x'.repeat(20_000)}`, /has no end/],
] as const)
  test(`a proxy that ${what} is told`, async (t) => {
    const f = await fleet(t, '{"resources": []}')
    const { port } = await passage(t, f.h.hub.relayPort!, () => answer)
    const findProxy = () => ({ address: { host: '127.0.0.1', port }, credentials: undefined, noProxy: [] })
    await assert.rejects(f.link({ findProxy }).connect(CONNECT), { code: 'MESH_CONTROL_UNREACHABLE', message: said })
  })

test('a hub that is somebody else is not told who we are', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const link = f.link({ serverName: 'other.example' })
  await assert.rejects(link.connect(CONNECT), { code: 'MESH_CONTROL_TLS', message: /not for other\.example/ })
})

test('a hub is known by an address, where its certificate has that address; by others it is not', async (t) => {
  const f = await fleet(t, '{"resources": []}')
  const link = f.link({ serverName: undefined })
  await link.connect(CONNECT)
  link.closeIfUnusedSoon()
  for (const serverName of ['127.0.0.2', 'localhost'])
    await assert.rejects(f.link({ serverName }).connect(CONNECT), { code: 'MESH_CONTROL_TLS', message: /not for / })
})
