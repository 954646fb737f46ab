import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../core/log.ts'
import { OwnNode } from '../../agent/own-node.ts'
import { loadConfig } from '../../agent/config/load.ts'
import { readNodeSettings } from '../../agent/control-sync-settings.ts'
import { deriveSnapshotOwner } from '../../control-sync/ads/node.ts'
import { SimClock } from '../helpers/sim-clock.ts'

function settingsOf(yaml: string): ReturnType<typeof readNodeSettings<undefined>> {
  const loaded = loadConfig(`${yaml}\ndirectory: /r`)
  if (!loaded.ok) assert.fail(JSON.stringify(loaded.problems))
  return readNodeSettings(loaded.config, { version: '1', hostName: 'host', ip: undefined })
}
class Machine {
  readonly clock = new SimClock()
  now: string[]
  readonly node: OwnNode
  readonly told: string[] = []
  constructor(now: string[], yaml = 'node: {name: edge-1, namespace: edge}') {
    this.now = now
    this.node = new OwnNode({
      settings: settingsOf(yaml),
      addresses: () => this.now,
      clock: this.clock,
      log: silentLog,
    })
    this.node.watch(() => {
      this.told.push(
        `node ${this.node.description.id.split('~')[1]} ${JSON.stringify(this.node.description.metadata['INSTANCE_IPS'])}`,
      )
    })
    this.node.watchMachine(() => {
      this.told.push('machine')
    })
  }
  async has(...now: string[]): Promise<string[]> {
    this.now = now
    this.told.length = 0
    await this.clock.advance(3_000)
    return [...this.told]
  }
}

test('the address comes late, changes, goes and comes back; nothing is told where nothing changed', async () => {
  const m = new Machine([])
  assert.deepEqual(
    [m.node.address, m.node.description.id],
    [undefined, 'sidecar~127.0.0.1~edge-1.edge~edge.svc.cluster.local'],
  )
  assert.deepEqual(await m.has(), [])
  assert.deepEqual(await m.has('10.0.0.5'), ['node 10.0.0.5 "10.0.0.5"', 'machine'])
  assert.deepEqual(await m.has('10.0.0.5'), [])
  assert.deepEqual(await m.has('10.0.0.6'), ['node 10.0.0.6 "10.0.0.6"', 'machine'])
  // The link is down: whoever it was, nobody else is known yet.
  assert.deepEqual(await m.has(), ['machine'])
  assert.equal(m.node.address, '10.0.0.6')
  assert.deepEqual(await m.has('10.0.0.6'), ['machine'])
})
test('an address that comes beside changes nothing, be it the first of the list; one that is fixed never changes', async () => {
  const m = new Machine(['10.0.0.5'])
  assert.deepEqual(await m.has('10.0.0.1', '10.0.0.5'), ['machine'])
  assert.deepEqual(await m.has('10.0.0.1'), ['node 10.0.0.1 "10.0.0.1"', 'machine'])
  const fixed = new Machine([], 'node: {name: edge-1, namespace: edge, ip: 192.0.2.1}')
  assert.deepEqual(await fixed.has('10.0.0.1'), ['machine'])
  assert.equal(fixed.node.address, '192.0.2.1')
})
test('nobody looks any more once it is over', async () => {
  const m = new Machine([])
  m.node[Symbol.dispose]()
  assert.deepEqual(await m.has('10.0.0.5'), [])
})
test('whose a snapshot is: of name, namespace, service account and trust domain, and of no address', () => {
  const owner = (yaml: string): string => deriveSnapshotOwner(settingsOf(yaml))
  const first = owner('node: {name: a, namespace: n, serviceAccount: s, ip: 10.0.0.1}')
  assert.equal(
    owner('node: {name: a, namespace: n, serviceAccount: s, ip: 10.0.0.2, labels: {app: x}, network: other}'),
    first,
  )
  for (const other of [
    'name: b, namespace: n, serviceAccount: s',
    'name: a, namespace: m, serviceAccount: s',
    'name: a, namespace: n, serviceAccount: t',
    'name: a, namespace: n, serviceAccount: s, meshId: other.example',
    'name: a, namespace: n, serviceAccount: s, metadata: {TRUST_DOMAIN: other.example}',
  ]) {
    assert.notEqual(owner(`node: {${other}}`), first, other)
  }
})
