/** The command line reads answers by these schemas: what they do not name would be lost to whoever types it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type * as z from 'zod'
import * as schemas from '../../../hub/console/record-schemas.ts'
import { startRollout } from '../../../hub/rollout/operate.ts'
import { EVERYBODY, makeScope } from '../../../hub/rollout/scope.ts'
import { DETAILS, REPORT } from '../../helpers/control-plane/report.ts'
import { consoleRig, type ConsoleRig } from './console-rig.ts'

const POINT = { connected: true, connects: 1, rttMs: 4, bytes: 9, spool: 3, requests: 2, failures: 1, drops: 0 }
const RESOURCE = (name: string, timeout: string): string =>
  JSON.stringify({
    resources: [
      {
        '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
        name,
        type: 'STATIC',
        connect_timeout: timeout,
        load_assignment: { cluster_name: name, endpoints: [] },
      },
    ],
  })

async function seed(rig: ConsoleRig): Promise<void> {
  const { registry } = rig.hub
  const nowMs = Date.now()
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: { site: 'n' }, address: '10.0.0.1' }
  await registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, nowMs)
  await registry.enrollments.ask({ ...of, name: 'gw-9', keyId: 'k9', why: 'new', askedMs: nowMs })
  const spiffeUri = 'spiffe://demo.mesh/ns/edge/sa/gw'
  await registry.claimName({ name: 'gw-1', nodeId: 'n', spiffeUri, ip: '', holder: 'key:k1', jti: undefined, nowMs })
  const quantities = { ...REPORT.quantities, rttMs: 3, spoolSinceMs: nowMs }
  await registry.reports.write(
    [{ name: 'gw-1', atMs: nowMs, restarts: 1, expected: '', report: { ...REPORT, quantities, details: DETAILS } }],
    [{ ...POINT, problems: 1, name: 'gw-1', atMs: nowMs }],
  )
  await registry.deviceEvents.add([{ atMs: nowMs, device: 'gw-1', event: 'connected', reason: 'over the relay' }])
  for (const timeout of ['1s', '2s']) {
    rig.write('a.json', RESOURCE('a', timeout))
    await rig.taken()
  }
  const [newest] = await registry.revisions.list()
  const plan = { to: newest!.id, waves: '50%,100%', halt: 'never', soakMs: 600_000, awayMs: 600_000 }
  const by = { actor: 'operator:ann', address: '', nowMs }
  if (await registry.rollouts.active()) return
  await startRollout(registry, { ...plan, scope: EVERYBODY, now: true }, by)
  await startRollout(registry, { ...plan, scope: makeScope({ labels: { site: 'n' } }) }, by)
}

test('every answer is what its schema says, and no field of it is left out', async (t) => {
  const rig = await consoleRig(t)
  await seed(rig)
  const cookie = await rig.login()
  const [revision] = await rig.hub.registry.revisions.list()
  const answers: readonly [string, z.ZodType][] = [
    ['devices/gw-1/record', schemas.deviceRecord],
    ['enrollments', schemas.enrollmentPage],
    ['device-events?after=0', schemas.eventPage],
    ['rollouts/status', schemas.rolloutStatus],
    ['rollouts/records', schemas.rolloutRecords],
    [`revisions/${revision!.id}/files`, schemas.filePage],
    ['device-revisions', schemas.deviceRevisionPage],
  ]
  for (const [path, schema] of answers) {
    const { status, body, text } = await rig.ask({ path: `/api/v1/${path}`, cookie })
    assert.equal(status, 200, text)
    assert.deepEqual(schema.parse(body), body, path)
    assert.ok(text.length > 60, `${path} says nothing: ${text}`)
  }
})
