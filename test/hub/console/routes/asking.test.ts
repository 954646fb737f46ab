import { test } from 'node:test'
import assert from 'node:assert/strict'
import { KEY_HOLDER } from '../../../../hub/registry/enrollments.ts'
import { consoleRig, type ConsoleRig } from '../console-rig.ts'

async function connectDevice({ hub }: ConsoleRig): Promise<void> {
  const { registry } = hub
  const nowMs = Date.now()
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
  await registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, nowMs)
  await registry.claimName({
    name: 'gw-1',
    nodeId: 'sidecar~10.0.0.1~gw-1.edge~edge.svc',
    spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gw',
    ip: '10.0.0.1',
    holder: `${KEY_HOLDER}k1`,
    jti: undefined,
    nowMs,
  })
  await registry.registerReplica({ id: 'other', nowMs, isAlone: false })
  await registry.devicesChanged(
    [
      {
        name: 'gw-1',
        connectedMs: nowMs,
        lastSeenMs: nowMs,
        inForce: undefined,
        inForceMs: undefined,
        refused: undefined,
      },
    ],
    nowMs,
    'other',
  )
}

/** As the hub that has the device's connection. @returns what was asked */
async function answerOne({ hub }: ConsoleRig, answer: string): Promise<Record<string, unknown>> {
  for (;;) {
    const [asked] = await hub.registry.deviceCommands.asked(Date.now())
    if (asked && (await hub.registry.deviceCommands.take(asked.id))) {
      await hub.registry.deviceCommands.finish(asked.id, 'done', answer)
      return JSON.parse(asked.request) as Record<string, unknown>
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 10)
    })
  }
}

test('a device is asked, and who follows its log stands in the audit log once', async (t) => {
  const rig = await consoleRig(t)
  await connectDevice(rig)
  const cookie = await rig.login([{ namespace: 'edge', role: 'operator' }], 'operator:ann')
  const ask = (body: object) => rig.ask({ method: 'POST', path: '/api/v1/devices/gw-1/ask', body, cookie })
  for (let i = 0; i < 3; i++) {
    const [asked, said] = await Promise.all([
      answerOne(rig, JSON.stringify({ form: 'text', text: '<script>line</script>\n' })),
      ask({ command: 'logs', lines: 7 }),
    ])
    assert.deepEqual(asked, { command: 'logs', lines: 7, operator: 'operator:ann' })
    assert.deepEqual(said.body, { form: 'text', text: '<script>line</script>\n' })
  }
  for (let i = 0; i < 2; i++)
    await Promise.all([answerOne(rig, JSON.stringify({ form: 'text', text: '' })), ask({ command: 'reload' })])
  const noted = await rig.hub.registry.audit.page({ subject: 'gw-1', most: 10 })
  assert.deepEqual(
    noted.map(({ actor, detail, address }) => [actor, detail, address]),
    [
      ['operator:ann', 'reload', '127.0.0.1'],
      ['operator:ann', 'reload', '127.0.0.1'],
      ['operator:ann', 'logs', '127.0.0.1'],
    ],
  )
  assert.equal((await ask({ command: 'logs', lines: 5_000 })).status, 400)
  assert.equal((await ask({ command: 'rm' })).status, 400)
})

test('a session waits for so many answers at once', async (t) => {
  const rig = await consoleRig(t)
  await connectDevice(rig)
  const cookie = await rig.login()
  const ask = () => rig.ask({ method: 'POST', path: '/api/v1/devices/gw-1/ask', body: { command: 'status' }, cookie })
  const waiting = [ask(), ask(), ask(), ask(), ask()]
  const first = await Promise.race(waiting)
  assert.equal(first.status, 429)
  for (let i = 0; i < 4; i++) await answerOne(rig, JSON.stringify({ form: 'text', text: 'ok' }))
  assert.deepEqual(
    (await Promise.all(waiting)).map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 200, 200, 200, 429],
  )
  const again = ask()
  await answerOne(rig, JSON.stringify({ form: 'text', text: 'ok' }))
  assert.equal((await again).status, 200, 'places are given back')
})
