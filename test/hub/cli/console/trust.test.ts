/** That a hub is known by a pin or a file, end to end: test/scenarios/fleet/remote-commands.test.ts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import path from 'node:path'
import type { MeshError } from '../../../../core/errors.ts'
import { parseHubUrl, readRoots } from '../../../../hub/cli/console/trust.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

const coded = (code: string) => (err: MeshError) => err.code === code
const PIN = `sha256:${'0'.repeat(64)}`

test('a hub is named by its origin; without TLS only where nobody stands between', () => {
  for (const text of ['https://hub.example', 'https://10.0.0.1:8443/', 'http://localhost:15080', 'http://[::1]:1'])
    assert.equal(parseHubUrl(text).origin, text.replace(/\/$/, ''))
  for (const text of ['http://hub.example', 'http://127.0.0.1.example', 'https://h/x', 'https://u@h', 'wss://h', 'h:1'])
    assert.throws(() => parseHubUrl(text), coded('MESH_CONFIG_INVALID'), text)
})

test('a file without a certificate, a pin that is none, and both at once are wrong usage', async (t) => {
  const empty = path.join(temporaryFolder(t), 'empty.pem')
  fs.writeFileSync(empty, '')
  const url = parseHubUrl('https://hub.example')
  for (const [at, o] of [
    [url, { caFile: empty, caPin: [] }],
    [url, { caFile: '/nosuch.pem', caPin: [] }],
    [url, { caPin: ['sha256:xyz'] }],
    [url, { caFile: empty, caPin: [PIN] }],
    [parseHubUrl('http://localhost:1'), { caPin: [PIN] }],
  ] as const)
    await assert.rejects(readRoots(at, o, { clock: new SimClock() }), coded('MESH_CONFIG_INVALID'))
  assert.equal(await readRoots(url, { caPin: [] }, { clock: new SimClock() }), undefined)
})

test('who speaks no TLS, or says nothing, is not reachable', async (t) => {
  const clock = new SimClock()
  const met = Promise.withResolvers<void>()
  let answer: string | undefined = 'SSH-2.0-x\r\n'
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    if (answer !== undefined) socket.end(answer)
    socket.once('data', () => met.resolve())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const url = parseHubUrl(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await assert.rejects(readRoots(url, { caPin: [PIN] }, { clock }), coded('MESH_HUB_UNREACHABLE'))
  answer = undefined
  const failed = assert.rejects(readRoots(url, { caPin: [PIN] }, { clock }), coded('MESH_HUB_UNREACHABLE'))
  await met.promise
  await clock.advance(15_000)
  await failed
})
