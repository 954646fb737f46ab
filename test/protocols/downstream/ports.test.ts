/** Ports that cannot be had. Time and sockets are simulated. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../core/log.ts'
import type { Network } from '../../../core/os/network.ts'
import type { Listener, ListenerAddress } from '../../../model/listener.ts'
import { Ports, overlap } from '../../../protocols/downstream/ports.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { listener, tcpChain } from './data-path-rig.ts'

const at = (name: string, address: string, port: number): Listener => listener([tcpChain()], { name, address, port })
const wanted = (...all: Listener[]): Map<string, Listener> => new Map(all.map((l) => [l.name, l]))

class Rig {
  readonly clock = new SimClock()
  readonly lines: Record<string, unknown>[] = []
  /** By address and port. */
  readonly faults = new Map<string, string>()
  tries = 0
  readonly ports: Ports
  constructor(ownedBy: (l: Listener, at: ListenerAddress) => string | undefined = () => undefined) {
    const sim = new SimNetwork()
    const network: Network = {
      dial: (to, signal, o) => sim.dial(to, signal, o),
      bindUdp: (to, events, o) => sim.bindUdp(to, events, o),
      listen: (to, onStream) => {
        this.tries++
        const code = this.faults.get(`${to.host}:${to.port}`)
        return code === undefined
          ? sim.listen(to, onStream)
          : Promise.reject(Object.assign(new Error(`listen ${code}`), { code }))
      },
    }
    const log = createLog('debug', {
      write: (line) => {
        this.lines.push(JSON.parse(line) as Record<string, unknown>)
      },
    })
    this.ports = new Ports({ network, clock: this.clock, log, accept: () => {}, refuse: () => {}, ownedBy })
  }
  states(): Record<string, string> {
    return Object.fromEntries(this.ports.status().map((p) => [p.name, p.error?.code ?? p.state]))
  }
  get told(): number {
    return this.lines.filter((l) => l['evt'] === 'listener.failed').length
  }
}

for (const [what, errno, code] of [
  ['whose address is not there', 'EADDRNOTAVAIL', 'MESH_ADDRESS_MISSING'],
  ['that is taken', 'EADDRINUSE', 'MESH_PORT_IN_USE'],
  ['that is forbidden', 'EACCES', 'MESH_PORT_FORBIDDEN'],
] as const) {
  test(`a port ${what} is told and tried again with growing pauses, and the others are open`, async () => {
    const r = new Rig()
    r.faults.set('10.0.0.9:80', errno)
    await r.ports.apply(wanted(at('far', '10.0.0.9', 80), at('near', '10.0.0.1', 80)))
    assert.deepEqual(r.states(), { far: code, near: 'listening' })
    for (const [i, pause] of [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].entries()) {
      await r.clock.advance(pause - 1)
      assert.equal(r.told, 1 + i)
      await r.clock.advance(1)
      await settle()
      assert.equal(r.told, 2 + i)
    }
    r.faults.clear()
    await r.clock.advance(60_000)
    await settle()
    assert.deepEqual(r.states(), { far: 'listening', near: 'listening' })
    const { tries } = r
    await r.clock.advance(3_600_000)
    assert.equal(r.tries, tries)
  })
}
test("a change of this machine's addresses, or of what is wanted, is a reason to try at once, and the pauses begin anew", async () => {
  const r = new Rig()
  r.faults.set('10.0.0.9:80', 'EADDRNOTAVAIL')
  await r.ports.apply(wanted(at('far', '10.0.0.9', 80)))
  await r.clock.advance(2_000 + 4_000 + 8_000)
  assert.equal(r.told, 4)
  await r.ports.again()
  assert.equal(r.told, 5)
  await r.clock.advance(2_000)
  assert.equal(r.told, 6)
  r.faults.clear()
  await r.ports.again()
  assert.deepEqual(r.states(), { far: 'listening' })
})
test('a port that agent.yaml has given to somebody is not tried, and says whose it is; two that were pushed onto one port know each other', async () => {
  const r = new Rig((l) => (l.port === 1883 ? 'listener mqtt of agent.yaml' : undefined))
  await r.ports.apply(wanted(at('pushed', '10.0.0.1', 1883), at('one', '0.0.0.0', 80), at('other', '10.0.0.1', 80)))
  assert.equal(r.tries, 1)
  assert.deepEqual(
    r.ports.status().map((p) => p.error?.message),
    [
      'the port 10.0.0.1:1883 of listener pushed belongs to listener mqtt of agent.yaml',
      undefined,
      'the port 10.0.0.1:80 of listener other belongs to listener one',
    ],
  )
  await r.ports.apply(wanted(at('other', '10.0.0.1', 80)))
  assert.deepEqual(r.states(), { other: 'listening' })
})
test("which sockets stand in each other's way", () => {
  for (const [a, b, does] of [
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.2', false],
    ['0.0.0.0', '10.0.0.1', true],
    ['10.0.0.1', '0.0.0.0', true],
    ['0.0.0.0', '::1', false],
    ['::', '::1', true],
    ['fd00::1', 'FD00:0:0::0:1', true],
    ['fd00::1', 'fd00:0:0:0:0:0:0:2', false],
    ['::', '10.0.0.1', false],
    ['::', '0.0.0.0', false],
  ] as const)
    assert.equal(overlap({ address: a, port: 1 }, { address: b, port: 1 }), does, `${a} ${b}`)
  for (const address of ['10.0.0.1', '0.0.0.0', '::1'])
    assert.equal(overlap({ address, port: 1 }, { address: '::', port: 1, ipv4Compat: true }), true, address)
  assert.equal(overlap({ address: '0.0.0.0', port: 0 }, { address: '0.0.0.0', port: 0 }), false)
  assert.equal(overlap({ address: '0.0.0.0', port: 1 }, { address: '0.0.0.0', port: 2 }), false)
})

/* additional_addresses. */

const BOTH: Listener = { ...at('l', '10.0.0.1', 80), additional: [{ address: 'fd00::1', port: 80 }] }
const told = (r: Rig): string[] => r.ports.status().map((p) => `${p.name} ${p.address} ${p.error?.code ?? p.state}`)

test('every address of a listener is open; one that cannot be had is told and tried again', async () => {
  const r = new Rig()
  r.faults.set('fd00::1:80', 'EADDRNOTAVAIL')
  await r.ports.apply(wanted(BOTH))
  assert.deepEqual(told(r), ['l 10.0.0.1:80 listening', 'l fd00::1:80 MESH_ADDRESS_MISSING'])
  r.faults.clear()
  await r.clock.advance(2_000)
  await settle()
  assert.deepEqual(told(r), ['l 10.0.0.1:80 listening', 'l fd00::1:80 listening'])
})

test('an address comes or goes, and the socket of the other one stays', async () => {
  const r = new Rig()
  await r.ports.apply(wanted(at('l', '10.0.0.1', 80)))
  await r.ports.apply(wanted(BOTH))
  assert.deepEqual(told(r), ['l 10.0.0.1:80 listening', 'l fd00::1:80 listening'])
  await r.ports.apply(wanted(at('l', '10.0.0.1', 80)))
  assert.deepEqual([told(r), r.tries], [['l 10.0.0.1:80 listening'], 2])
})

test('no two listeners share an address, also where it is an additional one', async () => {
  const r = new Rig()
  await r.ports.apply(wanted(BOTH, at('m', '::', 80)))
  assert.deepEqual(told(r).slice(2), ['m :::80 MESH_PORT_IN_USE'])
  const owned = new Rig((_, { address }) => (address.includes(':') ? 'somebody' : undefined))
  await owned.ports.apply(wanted(BOTH))
  assert.deepEqual(told(owned), ['l 10.0.0.1:80 listening', 'l fd00::1:80 MESH_PORT_IN_USE'])
})
