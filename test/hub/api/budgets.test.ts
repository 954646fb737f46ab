import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import { parseSpiffeId } from '../../../model/identity.ts'
import type { Caller } from '../../../hub/api/authenticate.ts'
import { Budgets } from '../../../hub/api/budgets.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const common = {
  spiffeId: parseSpiffeId('spiffe://demo.mesh/ns/edge/sa/gateway')!,
  namespace: 'edge',
  serviceAccount: 'gateway',
}
const device = (id: string): Caller => ({ ...common, endsMs: 1, by: 'certificate', serial: 's', jti: 'j', device: id })
const bearer = (jti: string): Caller => ({ ...common, endsMs: 1, by: 'token', jti })
const slowDown = (err: unknown): boolean => err instanceof MeshError && err.code === 'MESH_CONTROL_SLOW_DOWN'
function made() {
  const [clock, metrics] = [new SimClock(), new Metrics()]
  return {
    clock,
    metrics,
    budgets: new Budgets({
      limits: { maxCertificatesPerHour: 2, maxJoinsPerHour: 4, maxSubscribedBytes: 100, maxReportsPerMinute: 60 },
      clock,
      metrics,
    }),
  }
}

test('certificates: so many an hour for a device, so many for a token, and nobody pays for another', async () => {
  const { budgets, clock, metrics } = made()
  for (let i = 0; i < 2; i++) budgets.certificate(device('a'))
  assert.throws(() => budgets.certificate(device('a')), slowDown)
  budgets.certificate(device('b'))
  for (let i = 0; i < 4; i++) budgets.certificate(bearer('j'))
  assert.throws(() => budgets.certificate(bearer('j')), slowDown)
  assert.equal(metrics.total('mesh_hub_budget_exceeded_total', { budget: 'certificates' }), 2)
  await clock.advance(30 * 60_000)
  budgets.certificate(device('a'))
  assert.throws(() => budgets.certificate(device('a')), slowDown)
})

test('names: all streams of one device together; what a stream gives up and its end give back', () => {
  const { budgets } = made()
  const [first, second, other] = [
    budgets.subscription(device('a')),
    budgets.subscription(device('a')),
    budgets.subscription(device('b')),
  ]
  first.set(60)
  other.set(100)
  assert.throws(() => second.set(41), slowDown)
  second.set(40)
  first.set(10)
  second.set(90)
  second[Symbol.dispose]()
  second[Symbol.dispose]()
  first.set(100)
  first.set(0)
  budgets.subscription(device('a')).set(100)
})
