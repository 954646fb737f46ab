import { test } from 'node:test'
import assert from 'node:assert/strict'
import { consoleRig } from '../console-rig.ts'

test('a link is good for one login; after the logout its cookie is nobody', async (t) => {
  const rig = await consoleRig(t)
  const token = await rig.link()
  const login = () => rig.ask({ method: 'POST', path: '/api/v1/login', body: { token } })
  const both = await Promise.all([login(), login()])
  assert.deepEqual(
    both.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 401],
    'replayed at the same moment',
  )
  const cookie = both.find(({ status }) => status === 200)!.headers['set-cookie']![0]!.split(';')[0]!
  assert.equal((await rig.ask({ path: '/api/v1/session', cookie })).status, 200)
  const out = await rig.ask({ method: 'DELETE', path: '/api/v1/session', cookie })
  assert.match(out.headers['set-cookie']![0]!, /^__Host-meshlet=;.*Max-Age=0/)
  assert.equal((await rig.ask({ path: '/api/v1/session', cookie })).status, 401)
})

test('who logs in again ends the session of before', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login()
  await rig.ask({ method: 'POST', path: '/api/v1/login', body: { token: await rig.link() }, cookie })
  assert.equal((await rig.ask({ path: '/api/v1/session', cookie })).status, 401)
  assert.equal((await rig.hub.registry.sessions.all()).length, 1)
})

test('an admin sees whose sessions there are, without what would open them, and ends one', async (t) => {
  const rig = await consoleRig(t)
  const admin = await rig.login()
  const viewer = await rig.login([{ namespace: 'edge', role: 'viewer' }], 'operator:ann')
  const { body, text } = await rig.ask({ path: '/api/v1/sessions', cookie: admin })
  const all = body['sessions'] as { id: string; name: string; own: boolean }[]
  for (const { hash } of await rig.hub.registry.sessions.all()) assert.equal(text.includes(hash), false)
  const ann = all.find(({ name }) => name === 'ann')!
  assert.equal(ann.own, false)
  const end = await rig.ask({ method: 'DELETE', path: `/api/v1/sessions/${ann.id}`, cookie: admin })
  assert.equal(end.status, 200)
  assert.equal((await rig.ask({ path: '/api/v1/session', cookie: viewer })).status, 401)
})
