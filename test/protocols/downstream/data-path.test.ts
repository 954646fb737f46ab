import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import type { Address, Listening, NetStream } from '../../../core/os/network.ts'
import { ANY_CONNECTION, type FilterChain, type Listener } from '../../../model/listener.ts'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'
import { ENDED } from '../../../protocols/connection.ts'
import { getNodeHealth } from '../../../protocols/http/filters/health-check.ts'
import { findOwner } from '../../../protocols/downstream/original-destination.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { denyFrom, failures, listener, PORT, rig, tables, tcpChain } from './data-path-rig.ts'

test('a policy that now denies cuts off who is connected; who it does not concern goes on', async () => {
  const r = await rig(tables(listener([tcpChain()])))
  const stream = await r.dial()
  r.current.swap(tables(listener([tcpChain({ policies: [denyFrom('10.0.0.98')] })])))
  await settle()
  assert.ok(!stream.destroyed)
  r.current.swap(tables(listener([tcpChain({ policies: [denyFrom('10.0.0.99')] })])))
  await settle()
  assert.ok(stream.destroyed)
})
test('other MQTT rules or routes leave the connection open, with the new rules at hand; other limits are for new connections', async () => {
  const chain = (input: Parameters<ReturnType<typeof createMqttPolicySchema>['parse']>[0]): FilterChain =>
    tcpChain({ codec: { kind: 'mqtt', mqtt: createMqttPolicySchema().parse(input), transport: 'tcp' } })
  const r = await rig(tables(listener([chain({})])))
  await r.dial()
  const next = chain({
    rules: [{ action: 'subscribe', effect: 'deny' }],
    wideSubscriptions: 'filter',
    aclFile: '/acl',
    quotas: [{ maxConnections: 1 }],
    routes: [{ match: '#', direction: 'up', cluster: 'c' }],
    bridges: [{ cluster: 'c', start: 'lazy' }],
    spool: { maxMessages: 1 },
    sysIntervalSec: 1,
  })
  r.current.swap(tables(listener([next])))
  const { conn } = r.served[0]!
  assert.deepEqual([conn.chain === next, conn.draining.aborted], [true, false])
  r.current.swap(tables(listener([chain({ limits: { maxInflight: 1 } })])))
  assert.equal(conn.draining.aborted, true)
})
test('a change of another listener leaves the connection as it is', async () => {
  const one = listener([tcpChain()])
  const r = await rig(tables(one))
  await r.dial()
  const before = r.served[0]!.conn.chain
  r.current.swap(tables(one, listener([tcpChain()], { name: 'two', port: 7001 })))
  await settle()
  assert.equal(r.served[0]!.conn.chain, before)
  assert.equal(r.served[0]!.conn.draining.aborted, false)
})
test('plain text where TLS is now asked for is cut off at once', async () => {
  const r = await rig(tables(listener([tcpChain()])))
  const stream = await r.dial()
  r.current.swap(tables(listener([tcpChain({ match: { ...ANY_CONNECTION, transportProtocol: 'tls' } })])))
  await settle()
  assert.ok(stream.destroyed)
})
test('the connections of a listener that is gone may finish, and nobody new gets in', async () => {
  const r = await rig(tables(listener([tcpChain()])))
  const stream = await r.dial()
  r.current.swap(tables())
  await settle()
  assert.ok(!stream.destroyed)
  assert.ok(r.served[0]!.conn.draining.aborted)
  await assert.rejects(r.dial())
})

test('the connections of a listener that was taken out of agent.yaml, or moved, end within limits.drainMs', async () => {
  for (const [what, next] of [
    ['taken out', []],
    ['moved', [listener([tcpChain()], { port: 7001 })]],
  ] as const) {
    const stays = listener([tcpChain()], { name: 'two', address: '10.0.0.2' })
    const r = await rig(tables(), { drainMs: 5_000 }, new SimNetwork(), [listener([tcpChain()]), stays])
    const stream = await r.dial()
    r.own.splice(0, 2, ...next, stays)
    r.current.swap(tables())
    await settle()
    assert.deepEqual([stream.destroyed, r.served[0]!.conn.draining.aborted], [false, true], what)
    await assert.rejects(r.dial())
    await r.clock.advance(5_000)
    assert.equal(stream.destroyed, true, what)
    await r.path[Symbol.asyncDispose]()
    assert.equal(r.clock.pendingTimers, 0)
  }
})
test('a port of agent.yaml is nobody else’s from the moment it is named', async () => {
  const r = await rig(tables(), {}, new SimNetwork(), [])
  r.own.push(listener([tcpChain()], { name: 'mine' }))
  r.current.swap(tables(listener([tcpChain()], { name: 'pushed' })))
  await r.path.settled
  assert.deepEqual(
    r.path.listeners().map(({ name, state }) => [name, state]),
    [
      ['mine', 'listening'],
      ['pushed', 'failed'],
    ],
  )
})
test('a drain waits for what is open, at most limits.drainMs', async () => {
  const patient = await rig(tables(listener([tcpChain()])), { drainMs: 1_000 })
  await patient.dial()
  assert.equal(getNodeHealth(patient.ctx).isDraining, false)
  const drained = patient.path.drain()
  assert.equal(getNodeHealth(patient.ctx).isDraining, true, 'health checks are told')
  await patient.clock.advance(500)
  patient.served[0]!.end(ENDED)
  assert.equal(await drained, 'drained')

  const stubborn = await rig(tables(listener([tcpChain()])), { drainMs: 1_000 })
  const stream = await stubborn.dial()
  const forced = stubborn.path.drain()
  await stubborn.clock.advance(1_000)
  assert.equal(await forced, 'forced')
  assert.ok(stream.destroyed)
})
test('a port that is taken is reported, tried again, and the others are served', async () => {
  const r = await rig(tables())
  const squatter = await r.network.listen({ host: PORT.host, port: 7001 }, () => {})
  r.current.swap(tables(listener([tcpChain()]), listener([tcpChain()], { name: 'two', port: 7001 })))
  await settle()
  const [one, two] = r.path.listeners()
  assert.equal(one!.state, 'listening')
  assert.equal(two!.error?.code, 'MESH_PORT_IN_USE')
  await squatter[Symbol.asyncDispose]()
  await r.clock.advance(2_000)
  assert.equal(r.path.listeners()[1]!.state, 'listening')
})
test('an inherited socket outlives its listener: it refuses meanwhile, serves again when the listener is back, and is closed at the end', async () => {
  const sockets: string[] = []
  class Inheriting extends SimNetwork {
    override async listen(at: Address, accept: (accepted: NetStream) => void): Promise<Listening> {
      const open = await super.listen(at, accept)
      sockets.push(`opened ${at.port}`)
      return {
        port: open.port,
        inherited: true,
        [Symbol.asyncDispose]: async () => {
          sockets.push(`closed ${at.port}`)
          await open[Symbol.asyncDispose]()
        },
      }
    }
  }
  const r = await rig(tables(listener([tcpChain()])), {}, new Inheriting())
  const early = await r.dial()
  r.current.swap(tables())
  await settle()
  assert.deepEqual(r.path.listeners(), [])
  assert.ok(!early.destroyed, 'it may finish')
  assert.ok((await r.dial()).destroyed)
  assert.equal(failures(r, 'MESH_LISTENER_GONE'), 1)
  // Of another name, and back on the address.
  r.current.swap(tables(listener([tcpChain()], { name: 'two' })))
  await settle()
  assert.deepEqual(
    r.path.listeners().map((l) => [l.name, l.state]),
    [['two', 'listening']],
  )
  assert.ok(!(await r.dial()).destroyed)
  assert.deepEqual([r.served.length, r.served.at(-1)!.conn.listener.name], [2, 'two'])
  assert.deepEqual(sockets, ['opened 7000'])
  r.current.swap(tables())
  await settle()
  await r.path[Symbol.asyncDispose]()
  assert.deepEqual(sockets, ['opened 7000', 'closed 7000'])
})
test('who was redirected here has an original destination, who came to the port itself has none', async () => {
  class Redirecting extends SimNetwork {
    accept: ((accepted: NetStream) => void) | undefined
    override listen(at: Address, accept: (accepted: NetStream) => void): Promise<Listening> {
      this.accept = accept
      return super.listen(at, accept)
    }
  }
  const network = new Redirecting()
  const r = await rig(tables(listener([tcpChain()])), {}, network)
  await r.dial()
  const redirected = { host: '10.96.0.10', port: 80 }
  network.accept!({ stream: new PassThrough(), local: redirected, remote: { host: '10.0.0.2', port: 4000 } })
  network.accept!({
    stream: new PassThrough(),
    local: { ...redirected, port: PORT.port },
    remote: { host: '10.0.0.2', port: 4001 },
  })
  await settle()
  assert.deepEqual(
    r.served.map((s) => s.conn.originalDst),
    [undefined, redirected, { ...redirected, port: PORT.port }],
  )
  await r.path[Symbol.asyncDispose]()
})
test('behind a capturing listener the exact address goes before any address, whichever was sent first; nobody with that port: its own chains', () => {
  const of = (name: string, address: string, port: number): Listener =>
    listener([], { name, address, port, bindToPort: false })
  const capture = listener([], { name: 'virtualOutbound', address: '0.0.0.0', port: 15_001, useOriginalDst: true })
  const known = tables(capture, of('any', '0.0.0.0', 80), of('vip', '10.96.0.10', 80), of('other', '10.96.0.11', 81))
  const owner = (host: string, port: number, bound = capture): string =>
    findOwner(bound, { stream: new PassThrough(), local: { host, port }, remote: { host: '10.0.0.2', port: 1 } }, known)
      .name
  assert.deepEqual(
    [owner('10.96.0.10', 80), owner('10.96.0.11', 80), owner('10.96.0.10', 81), owner('10.96.0.10', 15_001)],
    ['vip', 'any', 'virtualOutbound', 'virtualOutbound'],
  )
  assert.equal(owner('10.96.0.10', 80, { ...capture, useOriginalDst: false }), 'virtualOutbound')
})
test('behind a capturing listener an additional address leads to its listener', () => {
  const capture = listener([], { name: 'virtualOutbound', address: '0.0.0.0', port: 15_001, useOriginalDst: true })
  const dual = listener([], {
    name: 'dual',
    address: '10.96.0.10',
    port: 80,
    bindToPort: false,
    additional: [{ address: 'fd00::10', port: 80 }],
  })
  const owner = (host: string): string =>
    findOwner(
      capture,
      { stream: new PassThrough(), local: { host, port: 80 }, remote: { host: '10.0.0.2', port: 1 } },
      tables(capture, dual),
    ).name
  assert.deepEqual(['10.96.0.10', 'fd00::10', 'fd00::11'].map(owner), ['dual', 'dual', 'virtualOutbound'])
})
test('behind a capturing listener the owner of the original destination serves', async () => {
  const capture = listener([tcpChain({ name: 'pass' })], { useOriginalDst: true })
  const owner = listener([tcpChain({ name: 'owner' })], { name: 'svc', address: '0.0.0.0', bindToPort: false })
  const r = await rig(tables(capture, owner))
  await r.dial()
  assert.equal(r.served[0]!.conn.chain.name, 'owner')
})
