import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeLease } from '../../../../core/lease.ts'
import { OriginalHosts } from '../../../../protocols/upstream/discovery/original-hosts.ts'

const at = (no: number) => ({ host: `10.0.0.${no}`, port: 80 })

test('the same destination is the same host', () => {
  const hosts = new OriginalHosts(() => {})
  assert.equal(hosts.hostAt(at(1)), hosts.hostAt(at(1)))
})
test('beyond the bound one that nobody uses is forgotten, and told', () => {
  const told: string[] = []
  const hosts = new OriginalHosts((what) => told.push(what), 2)
  const [first, second] = [hosts.hostAt(at(1)), hosts.hostAt(at(2))]
  using _inUse = takeLease(first.connections)
  hosts.hostAt(at(3))
  assert.deepEqual(
    [...hosts.all].map(({ endpoint }) => endpoint.address),
    ['10.0.0.1', '10.0.0.3'],
  )
  assert.notEqual(hosts.hostAt(at(2)), second)
  assert.deepEqual(told, ['forgotten', 'forgotten'])
})
test('while all are in use nobody else gets in, and those go on', () => {
  const told: string[] = []
  const hosts = new OriginalHosts((what) => told.push(what), 2)
  const first = hosts.hostAt(at(1))
  using _connected = takeLease(first.connections)
  using _asked = takeLease(hosts.hostAt(at(2)).active)
  assert.throws(() => hosts.hostAt(at(3)), { code: 'MESH_UPSTREAM_OVERFLOW' })
  assert.equal(hosts.hostAt(at(1)), first)
  assert.deepEqual(told, ['refused'])
})
