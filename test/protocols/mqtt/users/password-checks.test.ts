import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../../core/metrics.ts'
import { toMeshError } from '../../../../core/errors.ts'
import { PasswordChecks } from '../../../../protocols/mqtt/users/password-checks.ts'
import { settle } from '../../../helpers/sim-clock.ts'

class Rig {
  readonly metrics = new Metrics()
  readonly checks: PasswordChecks
  readonly order: string[] = []
  running = 0
  most = 0
  readonly #ends: (() => void)[] = []

  constructor(maxRunning = 1, maxWaiting = 100) {
    this.checks = new PasswordChecks({
      maxPasswordChecks: maxRunning,
      maxWaitingChecks: maxWaiting,
      metrics: this.metrics,
    })
  }
  start(source: string, name: string, signal = new AbortController().signal): Promise<string> {
    const check = async (): Promise<string> => {
      this.order.push(name)
      this.most = Math.max(this.most, ++this.running)
      await new Promise<void>((resolve) => this.#ends.push(resolve))
      this.running--
      return name
    }
    return this.checks.run(source, check, signal).catch((err: unknown) => toMeshError(err).code)
  }
  async endOne(): Promise<void> {
    this.#ends.shift()?.()
    await settle()
  }
}

test('few run at once, and sources take turns: a flood makes another wait for one check of it', async () => {
  const rig = new Rig(2)
  const flood = Array.from({ length: 20 }, (_, i) => rig.start('flood', `f${i}`))
  await settle()
  const other = rig.start('other', 'o')
  const third = rig.start('third', 't')
  for (let i = 0; i < 22; i++) await rig.endOne()
  await Promise.all([...flood, other, third])
  assert.equal(rig.most, 2)
  assert.deepEqual(rig.order.slice(0, 6), ['f0', 'f1', 'f2', 'o', 't', 'f3'])
  assert.equal(rig.order.length, 22)
  assert.equal(rig.checks.waiting, 0)
})

test('of too many who wait the source with the most loses its last; the others keep their place', async () => {
  const rig = new Rig(1, 4)
  const first = rig.start('flood', 'f0')
  await settle()
  const flood = ['f1', 'f2', 'f3'].map((name) => rig.start('flood', name))
  const others = ['a', 'b'].map((name) => rig.start(name, name))
  assert.equal(await flood[2], 'MESH_LISTENER_FULL')
  assert.equal(await rig.start('flood', 'f4'), 'MESH_LISTENER_FULL')
  for (let i = 0; i < 5; i++) await rig.endOne()
  assert.deepEqual(await Promise.all([first, flood[0], flood[1], ...others]), ['f0', 'f1', 'f2', 'a', 'b'])
})

test('a client that goes leaves the queue, a check that throws leaves its place', async () => {
  const rig = new Rig(1)
  const first = rig.start('a', 'a')
  const gone = new AbortController()
  const waiting = rig.start('b', 'b', gone.signal)
  const last = rig.start('c', 'c')
  assert.match(rig.metrics.text(), /mesh_mqtt_password_checks_waiting 2/)
  gone.abort()
  await waiting
  assert.equal(rig.checks.waiting, 1)
  await rig.endOne()
  await rig.endOne()
  assert.deepEqual([await first, await last, rig.order], ['a', 'c', ['a', 'c']])
  const thrown = rig.checks.run('a', () => Promise.reject(new Error('x')), new AbortController().signal)
  await assert.rejects(thrown, /x/)
  assert.equal(await rig.checks.run('a', async () => 'free', new AbortController().signal), 'free')
  assert.equal(await rig.start('d', 'd', AbortSignal.abort()).then(() => rig.checks.waiting), 0)
})
