import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import { once } from 'node:events'
import { startAdmin, type AdminPage } from '../../agent/admin.ts'
import { silentLog } from '../../agent/core/log.ts'

const pages = new Map<string, AdminPage>([
  ['/live', { method: 'GET', help: 'alive', handle: () => ({ body: 'LIVE\n' }) }],
  ['/drain', { method: 'POST', help: 'drain', handle: () => ({ body: 'draining\n' }) }],
  ['/broken', { method: 'GET', help: 'throws', handle: () => { throw new Error('secret detail') } }],
])

async function ask(port: number, path: string, options: { method?: string; host?: string } = {}): Promise<{ status: number; body: string }> {
  const req = http.request({ port, path, host: '127.0.0.1', method: options.method ?? 'GET', headers: options.host ? { host: options.host } : {} })
  req.end()
  const [res] = (await once(req, 'response')) as [http.IncomingMessage]
  const body = (await res.toArray()).map(String).join('')
  return { status: res.statusCode ?? 0, body }
}

test('pages answer their method only, unknown ones list what there is', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  assert.deepEqual(await ask(admin.port, '/live'), { status: 200, body: 'LIVE\n' })
  assert.equal((await ask(admin.port, '/drain')).status, 405)
  assert.equal((await ask(admin.port, '/drain', { method: 'POST' })).status, 200)
  const missing = await ask(admin.port, '/x')
  assert.equal(missing.status, 404)
  assert.match(missing.body, /GET {2}\/live/)
})
test('a name that is not loopback is refused (DNS rebinding)', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  assert.equal((await ask(admin.port, '/live', { host: 'attacker.example' })).status, 403)
  assert.equal((await ask(admin.port, '/live', { host: `localhost:${admin.port}` })).status, 200)
})
test('a page that throws tells the caller nothing of its inside', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  const broken = await ask(admin.port, '/broken')
  assert.equal(broken.status, 500)
  assert.doesNotMatch(broken.body, /secret/)
})
test('a taken port is reported with its code', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  await assert.rejects(startAdmin({ address: '127.0.0.1', port: admin.port }, pages, silentLog), { code: 'MESH_PORT_IN_USE' })
})
test('a target that is no path is answered with 400, and the port goes on', async () => {
  await using admin = await startAdmin({ address: '127.0.0.1', port: 0 }, pages, silentLog)
  for (const target of ['//', '//a:b', '///', '/%', '//[', '*', '/?%', 'http://[/', '//\\']) {
    const { status } = await ask(admin.port, target)
    assert.ok(status === 400 || status === 404, `${target}: ${status}`)
  }
  assert.equal((await ask(admin.port, '/live')).status, 200)
})
