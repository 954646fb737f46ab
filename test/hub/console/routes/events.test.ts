import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { consoleRig, type ConsoleRig } from '../console-rig.ts'

type Finally = { after(fn: () => void): void }

async function stream(t: Finally, rig: ConsoleRig, cookie: string, headers: http.OutgoingHttpHeaders = {}) {
  const asked = http.request({
    host: '127.0.0.1',
    port: rig.hub.consolePort!,
    path: '/api/v1/events',
    headers: { cookie, ...headers },
    agent: false,
  })
  asked.on('error', () => {})
  t.after(() => asked.destroy())
  asked.end()
  const [response] = (await once(asked, 'response')) as [http.IncomingMessage]
  let text = ''
  response.on('data', (part: Buffer) => {
    text += part.toString()
  })
  response.on('error', () => {})
  return {
    status: response.statusCode,
    headers: response.headers,
    ended: new Promise((resolve) => {
      response.once('close', resolve)
    }),
    close: () => asked.destroy(),
    async until(wanted: RegExp) {
      while (!wanted.test(text)) await once(response, 'data')
      return text
    },
  }
}

test('what changes comes to the page, with an id to go on from', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login()
  const events = await stream(t, rig, cookie)
  assert.equal(events.headers['content-type'], 'text/event-stream')
  assert.match(String(events.headers['content-security-policy']), /default-src 'none'/)
  await events.until(/retry: 2000\n\n[^]*event: reset[^]*event: ready/)
  const entry = { atMs: 1, actor: 'x', event: 'token.created', subject: 's', address: '', detail: '' } as const
  await rig.hub.registry.audit.add(entry)
  const said = await events.until(/event: changed/)
  assert.match(said, /id: \w+-\d+\nevent: changed\ndata: \{"topics":\["audit","tokens"\]\}/)
  const late = await stream(t, rig, cookie, { 'last-event-id': 'gone-1' })
  await late.until(/event: reset/)
})

test('a session has so many streams, and all together; what ends gives its place back', async (t) => {
  const rig = await consoleRig(t, 'console: {listen: "127.0.0.1:0", maxStreams: 10}')
  const [ann, bob] = [await rig.login(), await rig.login()]
  const open = []
  for (let i = 0; i < 8; i++) open.push(await stream(t, rig, ann))
  assert.equal((await rig.ask({ path: '/api/v1/events', cookie: ann })).status, 429)
  const others = [await stream(t, rig, bob), await stream(t, rig, bob)]
  assert.equal((await rig.ask({ path: '/api/v1/events', cookie: bob })).status, 429, 'console.maxStreams')
  assert.match(rig.metrics.text(), /mesh_hub_console_streams 10/)
  for (const one of [...open, ...others]) one.close()
  while (!rig.metrics.text().includes('mesh_hub_console_streams 0')) await new Promise(setImmediate)
  assert.equal((await stream(t, rig, ann)).status, 200)
})

test('the stream of a session that was ended ends', async (t) => {
  const rig = await consoleRig(t)
  const events = await stream(t, rig, await rig.login(undefined, 'operator:ann'))
  assert.equal(await rig.hub.registry.sessions.endOf('operator:ann'), 1)
  await events.until(/event: over/)
  await events.ended
})

test('a hub that stops ends the streams', async (t) => {
  const ended: Promise<unknown>[] = []
  await t.test('while one is open', async (inner) => {
    const rig = await consoleRig(inner)
    ended.push((await stream(t, rig, await rig.login())).ended)
  })
  await ended[0]
})
