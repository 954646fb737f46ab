/** The steps of a connection: which chain takes it, what refuses it, and to whom it is handed. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseCidr } from '../../../model/ip.ts'
import { ENDED } from '../../../protocols/connection.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { denyFrom, failures, listener, PORT, rig, tables, tcpChain } from './data-path-rig.ts'
import { ANY_CONNECTION, type Listener } from '../../../model/listener.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'

test('a connection is handed to the codec of the chain that takes it', async () => {
  const r = await rig(tables(listener([tcpChain()])))
  await r.dial()
  assert.equal(r.served.length, 1)
  assert.equal(r.path.connections, 1)
  r.served[0]!.end(ENDED)
  await settle()
  assert.equal(r.path.connections, 0)
})
test('a connection that no chain takes is closed with a reason', async () => {
  const r = await rig(tables(listener([tcpChain({ match: { ...ANY_CONNECTION, destinationPort: 1 } })])))
  const stream = await r.dial()
  assert.ok(stream.destroyed)
  assert.equal(failures(r, 'MESH_NO_FILTER_CHAIN'), 1)
})
for (const { name, off, isServed } of [
  {
    name: 'where the inspector is switched off',
    off: { kind: 'destination-port', from: PORT.port, to: PORT.port },
    isServed: true,
  },
  {
    name: 'not where it is switched off for other ports',
    off: { kind: 'not', of: { kind: 'destination-port', from: PORT.port, to: PORT.port } },
    isServed: false,
  },
] as const) {
  test(`a server that speaks first is reached at once ${name} (filter_disabled)`, async () => {
    const r = await rig(
      tables(
        listener(
          [tcpChain({ match: { ...ANY_CONNECTION, destinationPort: PORT.port, transportProtocol: 'raw_buffer' } })],
          {
            sniff: { tls: true, http: true, tlsOff: off, httpOff: off, timeoutMs: 0, onTimeout: 'continue' },
          },
        ),
      ),
    )
    await r.dial()
    assert.equal(r.served.length, isServed ? 1 : 0)
  })
}
test('TLS is bytes like any others where the inspector is switched off: the chain of the port takes it', async () => {
  const r = await rig(
    tables(
      listener(
        [tcpChain({ match: { ...ANY_CONNECTION, destinationPort: PORT.port, transportProtocol: 'raw_buffer' } })],
        {
          sniff: { tls: true, http: false, tlsOff: { kind: 'any' }, timeoutMs: 0, onTimeout: 'close' },
        },
      ),
    ),
  )
  const stream = await r.dial()
  stream.write(Buffer.from('160301', 'hex'))
  await settle()
  assert.deepEqual([r.served.length, stream.destroyed], [1, false])
})
test('of equal chains a blocked one wins: what tells it apart may be what was not understood', async () => {
  const r = await rig(
    tables(
      listener([
        tcpChain(),
        tcpChain({ name: 'strict', codec: { kind: 'blocked', reason: 'a criterion that is not known' } }),
      ]),
    ),
  )
  await r.dial()
  assert.deepEqual([r.served.length, failures(r, 'MESH_CHAIN_BLOCKED')], [0, 1])
})
for (const { name, match, isServed } of [
  { name: 'source_type EXTERNAL', match: { sourceType: 'external' }, isServed: true },
  { name: 'source_type SAME_IP_OR_LOOPBACK', match: { sourceType: 'local' }, isServed: false },
  {
    name: 'a direct source range that holds the peer',
    match: { directSourceRanges: [parseCidr('0.0.0.0', 0)!] },
    isServed: true,
  },
  {
    name: 'a direct source range elsewhere',
    match: { directSourceRanges: [parseCidr('203.0.113.0', 24)!] },
    isServed: false,
  },
] as const) {
  test(`a chain match: ${name}`, async () => {
    const r = await rig(tables(listener([tcpChain({ match: { ...ANY_CONNECTION, ...match } })])))
    await r.dial()
    assert.equal(r.served.length, isServed ? 1 : 0)
  })
}
test('a chain with something that is not implemented lets nothing through', async () => {
  const r = await rig(
    tables(listener([tcpChain({ codec: { kind: 'blocked', reason: 'filter x is not implemented' } })])),
  )
  assert.ok((await r.dial()).destroyed)
  assert.equal(r.served.length, 0)
  assert.equal(failures(r, 'MESH_CHAIN_BLOCKED'), 1)
})
test("a peer that the chain's policy denies never reaches the codec", async () => {
  const r = await rig(tables(listener([tcpChain({ policies: [denyFrom('10.0.0.99')] })])))
  assert.ok((await r.dial()).destroyed)
  assert.equal(r.served.length, 0)
  assert.equal(failures(r, 'MESH_PEER_NOT_ALLOWED'), 1)
})
test('more connections than limits.maxConnections are refused', async () => {
  const r = await rig(tables(listener([tcpChain()])), { maxConnections: 1 })
  await r.dial()
  assert.ok((await r.dial()).destroyed)
  assert.equal(failures(r, 'MESH_LISTENER_FULL'), 1)
})

test('first bytes that wait for more, also behind a PROXY header, count in the memory budget until they are handed on', async () => {
  const sniffs = { sniff: { tls: false, http: true, timeoutMs: 0, onTimeout: 'close' } } as const
  const asks = { match: { ...ANY_CONNECTION, applicationProtocols: ['http/1.1'] } }
  const budget = new MemoryBudget({ maxBytes: 1_000_000 })
  const proxied = { proxyProtocol: { isOptional: false, disallowedVersions: [] } } as unknown as Partial<Listener>
  const r = await rig(tables(listener([tcpChain(asks)], { ...sniffs, ...proxied })), {}, undefined, [], budget)
  const stream = await r.dial()
  stream.write('PROXY TCP4 192.0.2.1')
  await settle()
  assert.equal(budget.heldBytes, 20)
  stream.write(' 192.0.2.2 1 2\r\nGET /')
  await settle()
  assert.equal(budget.heldBytes, 5)
  stream.write(' HTTP/1.1\r\n')
  await settle()
  assert.deepEqual([r.served.length, budget.heldBytes], [1, 0])
})
