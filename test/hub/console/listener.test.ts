import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import tls from 'node:tls'
import { describeAddress, usesTls } from '../../../hub/console/listener.ts'
import { parseHubConfig } from '../../../hub/config.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { consoleRig } from './console-rig.ts'

const settingsOf = (text: string) => parseHubConfig(`resources: /r\nconsole: ${text}`).console!

test('plain HTTP is spoken on loopback alone', () => {
  for (const [text, expected] of [
    ['{}', false],
    ['{listen: "127.0.0.1:1"}', false],
    ['{listen: "[::1]:1"}', false],
    ['{listen: "localhost:1"}', false],
    ['{listen: "0.0.0.0:1"}', true],
    ['{listen: "192.0.2.1:1"}', true],
    ['{listen: "[::]:1"}', true],
    ['{listen: "127.0.0.1:1", certificateFile: /c, keyFile: /k}', true],
    ['{listen: "127.0.0.1:1", publicUrl: "https://c.example"}', false],
  ] as const)
    assert.equal(usesTls(settingsOf(text)), expected, text)
})

test('the address that login prints is one that a browser can open', () => {
  const names = ['hub.example.org']
  for (const [text, expected] of [
    ['{}', 'http://127.0.0.1:15080'],
    ['{listen: "[::1]:81"}', 'http://[::1]:81'],
    ['{listen: "0.0.0.0:8443"}', 'https://hub.example.org:8443'],
    ['{listen: "10.0.0.1:443"}', 'https://10.0.0.1:443'],
    ['{publicUrl: "https://c.example/"}', 'https://c.example'],
  ] as const)
    assert.equal(describeAddress(settingsOf(text), names), expected)
})

test('everywhere else it is HTTPS with a certificate of the hub, or with the given one', async (t) => {
  const rig = await consoleRig(t, 'console: {listen: "0.0.0.0:0"}')
  const socket = tls.connect({
    host: '127.0.0.1',
    port: rig.hub.consolePort!,
    ca: rig.hub.rootsPem,
    servername: 'hub.demo.mesh',
  })
  t.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  socket.write('GET / HTTP/1.1\r\nhost: hub.demo.mesh\r\n\r\n')
  const [head] = (await once(socket, 'data')) as [Buffer]
  assert.match(head.toString(), /strict-transport-security: max-age=31536000/)
  const plain = net.connect(rig.hub.consolePort!, '127.0.0.1')
  plain.write('GET / HTTP/1.1\r\nhost: hub.demo.mesh\r\n\r\n')
  plain.on('error', () => {})
  const [closed] = await once(plain, 'close')
  assert.ok(closed !== undefined && plain.bytesRead === 0, 'plain HTTP is not answered')
})

test('a certificate without its key, or with another, is refused before the port is open', async (t) => {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'c.pem')
  fs.writeFileSync(file, 'nonsense')
  for (const more of ['', `, keyFile: ${file}`])
    await assert.rejects(
      consoleRig(t, `console: {listen: "127.0.0.1:0", certificateFile: ${file}${more}}`),
      /console\.(certificateFile|keyFile)/,
    )
})

test('a request that comes slowly loses its connection, also that of an operator', async (t) => {
  const rig = await consoleRig(t, 'console: {listen: "127.0.0.1:0", requestMs: 300}')
  const cookie = await rig.login()
  const socket = net.connect(rig.hub.consolePort!, '127.0.0.1')
  t.after(() => socket.destroy())
  const head = `host: localhost\r\ncookie: ${cookie}\r\nx-meshlet-console: 1\r\n`
  socket.write(`GET /api/v1/session HTTP/1.1\r\n${head}\r\n`)
  const [first] = (await once(socket, 'data')) as [Buffer]
  assert.match(first.toString(), /^HTTP\/1\.1 200/)
  // From now on the connection is no stranger's, and half a request stands on it.
  socket.write(`POST /api/v1/tokens HTTP/1.1\r\n${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{`)
  const ended = once(socket, 'close')
  await ended
})
