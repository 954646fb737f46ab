import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import type { Listening, NetStream } from '../../../../core/os/network.ts'
import { listenOnUnixSocket } from '../../../../core/os/sockets/unix-socket.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

async function open(
  t: TestContext,
  file: string,
  mode = 0o660,
): Promise<{ listening: Listening; accepted: NetStream[] }> {
  const accepted: NetStream[] = []
  const listening = await listenOnUnixSocket({ path: file, mode }, (stream) => {
    accepted.push(stream)
    stream.stream.on('error', () => {}).end('hello')
  })
  t.after(() => listening[Symbol.asyncDispose]())
  return { listening, accepted }
}
const folder = (t: TestContext): string => temporaryFolder(t)

test('it has the mode that was asked for, serves, and is gone once it is closed', async (t) => {
  const file = path.join(folder(t), 'mqtt.sock')
  const { listening, accepted } = await open(t, file, 0o620)
  assert.equal(fs.statSync(file).mode & 0o777, 0o620)
  const client = net.connect({ path: file })
  const [chunk] = (await once(client, 'data')) as [Buffer]
  assert.equal(String(chunk), 'hello')
  client.destroy()
  assert.deepEqual(
    [accepted[0]!.remote, accepted[0]!.local],
    [
      { host: 'unix', port: 0 },
      { host: 'unix', port: 0 },
    ],
  )
  await listening[Symbol.asyncDispose]()
  assert.equal(fs.existsSync(file), false)
})
test('what a killed run has left is removed', async (t) => {
  const file = path.join(folder(t), 'mqtt.sock')
  const child = spawnSync(process.execPath, [
    '-e',
    `require('node:net').createServer().listen(${JSON.stringify(file)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ])
  assert.equal(child.signal, 'SIGKILL')
  assert.ok(fs.lstatSync(file).isSocket())
  await open(t, file)
})
test('what another process listens on, and what is no socket, stays', async (t) => {
  const at = folder(t)
  const [live, plain, link] = ['live', 'plain', 'link'].map((name) => path.join(at, name)) as [string, string, string]
  await open(t, live)
  await assert.rejects(open(t, live), { code: 'EADDRINUSE' })
  fs.writeFileSync(plain, 'precious')
  await assert.rejects(open(t, plain), { code: 'EEXIST' })
  assert.equal(fs.readFileSync(plain, 'utf8'), 'precious')
  fs.symlinkSync(live, link)
  await assert.rejects(open(t, link), { code: 'EEXIST' })
  assert.ok(fs.existsSync(live))
})
test('a folder that anybody may write to is none, unless it is sticky; one that is not there is told', async (t) => {
  const at = folder(t)
  fs.chmodSync(at, 0o777)
  await assert.rejects(open(t, path.join(at, 's')), { code: 'EACCES' })
  fs.chmodSync(at, 0o1777)
  await open(t, path.join(at, 's'))
  await assert.rejects(open(t, path.join(at, 'none', 's')), { code: 'ENOENT' })
})
