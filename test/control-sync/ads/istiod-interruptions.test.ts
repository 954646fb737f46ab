/** How streams to istiod end, and what a push that would empty a site comes to. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../core/log.ts'
import { ENDINGS } from '../../helpers/control-plane/fake-streams.ts'
import {
  brokenTable,
  edsCluster,
  httpListener,
  load,
  SyncedAgent,
  table,
} from '../../helpers/control-plane/synced-agent.ts'
import { calm, mesh } from './quirk-rig.ts'

/** Lines that the agent logged, as `level evt`. */
function logged(): { readonly lines: string[]; readonly log: ReturnType<typeof createLog> } {
  const lines: string[] = []
  return {
    lines,
    log: createLog('info', {
      write: (line) => {
        const { level, evt } = JSON.parse(line) as { level: string; evt: string }
        lines.push(`${level} ${evt}`)
      },
    }),
  }
}

test('the age limit of connections (30 min) is the normal end of a stream: no warning, no problem, the next stream within a second', async () => {
  const istiod = mesh()
  const { lines, log } = logged()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { log })
  await calm(agent)
  await agent.clock.advance(1_800_000)
  istiod.end(ENDINGS.dropped)
  await calm(agent)
  assert.deepEqual([agent.sync.link.state, agent.sync.link.error], ['waiting', undefined])
  await agent.clock.advance(1_000)
  assert.deepEqual(
    [agent.sync.link.state, transport.opened, lines.filter((l) => l.startsWith('warn'))],
    ['connected', 2, []],
  )
})

test('a stream that is cut soon after it came up, and one that never came up, are warnings', async () => {
  const istiod = mesh()
  const { lines, log } = logged()
  await using agent = new SyncedAgent(istiod.transport(), { log })
  await calm(agent)
  istiod.end(ENDINGS.dropped)
  istiod.refuse.push(ENDINGS.notReady)
  await agent.clock.advance(60_000)
  assert.deepEqual(
    [agent.sync.link.state, lines.filter((l) => l.startsWith('warn'))],
    ['connected', ['warn control.lost', 'warn control.lost']],
  )
})

test('a link that is cut again and again: the waits begin anew after each stream that stood for a second; what breaks at once is opened more and more seldom', async () => {
  /** How many streams were opened, half a second (the first wait at most) after each of eight cuts. */
  const opened = async (stoodMs: number): Promise<number> => {
    const istiod = mesh()
    const transport = istiod.transport()
    await using agent = new SyncedAgent(transport, { random: { float: () => 0.99 } })
    await calm(agent)
    for (let i = 0; i < 8; i++) {
      await agent.clock.advance(stoodMs)
      istiod.end(ENDINGS.dropped)
      await calm(agent)
      await agent.clock.advance(500)
      await calm(agent)
    }
    return transport.opened
  }
  assert.equal(await opened(1_100), 9)
  const few = await opened(0)
  assert.ok(few < 6, `${few} streams`)
})

test('a region that returns: "request rate limit exceeded" is waited out, at least a second each time', async () => {
  const istiod = mesh()
  istiod.refuse.push(ENDINGS.rate, ENDINGS.rate)
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { random: { float: () => 0 } })
  await calm(agent)
  assert.deepEqual([agent.sync.link.error?.code, transport.opened], ['MESH_CONTROL_SLOW_DOWN', 1])
  await agent.clock.advance(999)
  assert.equal(transport.opened, 1)
  await agent.clock.advance(1)
  assert.equal(transport.opened, 2)
  await agent.clock.advance(1_000)
  assert.deepEqual([transport.opened, agent.synced], [3, true])
})

for (const [ending, code] of [
  ['noIdentity', 'MESH_CONTROL_UNAUTHENTICATED'],
  ['otherIdentity', 'MESH_CONTROL_FORBIDDEN'],
  ['noGroup', 'MESH_CONTROL_REFUSED'],
  ['missingNode', 'MESH_CONTROL_REFUSED'],
] as const) {
  test(`${ending}: the agent says ${code}, serves on and tries again at a slow pace`, async () => {
    const istiod = mesh()
    const transport = istiod.transport()
    await using agent = new SyncedAgent(transport)
    await calm(agent)
    istiod.refuse.push(...Array.from({ length: 40 }, () => ENDINGS[ending]))
    istiod.end(ENDINGS.dropped)
    await agent.clock.advance(600_000)
    assert.equal(agent.sync.link.error?.code, code)
    assert.deepEqual(agent.names('cluster'), ['a', 'b'])
    assert.ok(transport.opened > 5 && transport.opened < 20, `${transport.opened} tries in ten minutes`)
  })
}

test('an istiod that has restarted with a broken registry does not empty a site: clusters, endpoints and routes serve on until the time is over', async () => {
  const istiod = mesh()
  const services = Array.from({ length: 20 }, (_, i) => `s${i}`)
  istiod.put(...services.flatMap((s) => [edsCluster(s), load(s, '10.1.0.1')]), table('80', 'a', ...services))
  await using agent = new SyncedAgent(istiod.transport(), { shrinkHoldMs: 120_000 })
  await calm(agent)
  istiod.restart()
  istiod.drop('cluster', ...services)
  istiod.drop('endpoint', ...services)
  istiod.put(table('80', 'a'), httpListener('new', '80', { direction: 'INBOUND', port: 8081 }))
  await agent.clock.advance(2_000)
  assert.deepEqual(
    [agent.sync.link.state, agent.sync.link.held?.clusters, agent.names('cluster').length],
    ['connected', 20, 22],
  )
  assert.equal(agent.tables.get().load('s7')?.localities.length, 1, 'its endpoints serve on')
  assert.equal(agent.tables.get().routes('80')?.virtualHost('s7')?.name, 's7', 'and so does its route')
  assert.ok(agent.tables.get().listeners.has('new'), 'what is new counts at once')
  assert.equal(agent.metrics.total('mesh_control_held_clusters'), 20)
  await agent.clock.advance(120_000)
  assert.deepEqual(
    [agent.names('cluster'), agent.names('endpoint'), agent.sync.link.held],
    [['a', 'b'], ['a', 'b'], undefined],
  )
  assert.equal(agent.tables.get().routes('80')?.virtualHost('s7'), undefined)
  assert.deepEqual(istiod.log, [])
})

test('what is refused when its time has come is asked for anew, too', async () => {
  const istiod = mesh()
  const services = Array.from({ length: 20 }, (_, i) => `s${i}`)
  istiod.put(...services.map((s) => edsCluster(s)), table('80', 'a', ...services))
  await using agent = new SyncedAgent(istiod.transport(), { shrinkHoldMs: 60_000, refusedRetryMs: 10_000 })
  await calm(agent)
  istiod.restart()
  istiod.drop('cluster', ...services)
  istiod.put(brokenTable('80'))
  await agent.clock.advance(2_000)
  istiod.put(table('80', 'b'))
  await agent.clock.advance(59_000)
  assert.deepEqual([agent.names('cluster'), agent.applier.rejected.map((r) => r.name)], [['a', 'b'], ['80']])
  await agent.clock.advance(10_000)
  assert.deepEqual([agent.applier.rejected, agent.tables.get().routes('80')?.virtualHost('b')?.name], [[], 'b'])
})

for (const flavour of ['delta', 'sotw'] as const) {
  test(`a registry that comes back within the time: nothing was ever gone (${flavour})`, async () => {
    const istiod = mesh()
    const services = Array.from({ length: 20 }, (_, i) => `s${i}`)
    const all = [...services.flatMap((s) => [edsCluster(s), load(s, '10.1.0.1')]), table('80', 'a', ...services)]
    istiod.put(...all)
    await using agent = new SyncedAgent(istiod.transport(flavour), { shrinkHoldMs: 120_000 })
    await calm(agent)
    const { generation } = agent.applier
    istiod.restart()
    istiod.drop('cluster', ...services)
    istiod.drop('endpoint', ...services)
    istiod.put(table('80', 'a'))
    await agent.clock.advance(2_000)
    assert.equal(agent.sync.link.held?.clusters, 20)
    istiod.put(...all)
    istiod.push({ clusters: services })
    await agent.clock.advance(300_000)
    assert.deepEqual(
      [agent.sync.link.held, agent.applier.generation, agent.names('endpoint').length],
      [undefined, generation, 22],
    )
    assert.equal(agent.tables.get().routes('80')?.virtualHost('s7')?.name, 's7')
  })
}
