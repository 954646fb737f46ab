import { test } from 'node:test'
import assert from 'node:assert/strict'
import { consoleRig } from '../console-rig.ts'

test('a token is made in a namespace that one operates, and shown in this answer alone', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login([{ namespace: 'edge', role: 'operator' }])
  const make = (namespace: string) =>
    rig.ask({
      method: 'POST',
      path: '/api/v1/tokens',
      body: { namespace, serviceAccount: 'gw', nodes: 'gw-*', maxUses: 2 },
      cookie,
    })
  assert.equal((await make('lab')).status, 404, 'as though there were no such namespace')
  const { body, headers } = await make('edge')
  assert.equal(headers['content-encoding'], undefined, 'a secret is not compressed beside what others wrote')
  const listed = await rig.ask({ path: '/api/v1/tokens', cookie })
  assert.equal(listed.text.includes(String(body['token'])), false)
  assert.equal((listed.body['tokens'] as { hash?: string }[])[0]?.hash, undefined)
  assert.equal(
    (await rig.ask({ method: 'POST', path: `/api/v1/tokens/${String(body['id'])}/revoke`, body: {}, cookie })).status,
    200,
  )
  assert.notEqual((await rig.hub.registry.token(String(body['id'])))?.revokedMs, null)
})
