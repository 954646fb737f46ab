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

test('many tokens are made at once or none of them, and the list names so many devices as it is asked for', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login([{ namespace: 'edge', role: 'operator' }])
  const make = (nodes: readonly string[], namespace = 'edge') =>
    rig.ask({ method: 'POST', path: '/api/v1/tokens/many', body: { namespace, serviceAccount: 'gw', nodes }, cookie })
  assert.equal((await make(['gw-1', 'no name'])).status, 400)
  assert.equal((await make(['gw-1'], 'lab')).status, 404)
  assert.equal((await make(Array.from({ length: 201 }, (_, i) => `gw-${i}`))).status, 400)
  assert.deepEqual(await rig.hub.registry.tokens(), [])
  const { body, headers } = await make(['gw-1', 'gw-2'])
  assert.equal(headers['content-encoding'], undefined)
  const [first] = body['tokens'] as { id: string; token: string }[]
  assert.equal((body['tokens'] as unknown[]).length, 2)
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: first!.id, labels: {}, address: '' }
  for (let i = 0; i < 7; i++) await rig.hub.registry.enrollments.enroll({ ...of, name: `d-${i}`, keyId: `k${i}` }, 1)
  const devicesOf = async (query: string) => {
    const { tokens } = (await rig.ask({ path: `/api/v1/tokens${query}`, cookie })).body as {
      tokens: { id: string; devices: string[]; devicesTotal: number }[]
    }
    const { devices, devicesTotal } = tokens.find(({ id }) => id === first!.id)!
    return [devices.length, devicesTotal]
  }
  assert.deepEqual(await devicesOf(''), [5, 7])
  assert.deepEqual(await devicesOf('?devices=10000'), [7, 7])
  assert.equal((await rig.hub.registry.audit.page({ event: 'token.created', most: 9 })).length, 2)
})

test('where every device needs approval, tokens of the console say so, too', async (t) => {
  const rig = await consoleRig(t, 'console: {listen: "127.0.0.1:0"}\nenrollment: {approval: always}')
  const cookie = await rig.login()
  const body = { namespace: 'edge', serviceAccount: 'gw', nodes: 'gw-*' }
  await rig.ask({ method: 'POST', path: '/api/v1/tokens', body, cookie })
  assert.equal((await rig.hub.registry.tokens())[0]?.approval, true)
})
