import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeFleetRow, type FleetSources } from '../../../hub/reports/fleet-row.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { NOW_MS, row } from './rows.ts'

const DEVICE: FleetSources['device'] = {
  name: 'gw-1',
  nodeId: 'n',
  spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
  joinedMs: NOW_MS - 9_000,
  lastSeenMs: NOW_MS - 5_000,
  lastIp: '10.0.0.7',
  connectedMs: null,
  inForce: 'v1',
  inForceMs: NOW_MS,
  refused: null,
  serial: null,
  notAfterMs: null,
}
const stored = { name: 'gw-1', atMs: NOW_MS - 1_000, restarts: 1, expected: REPORT.content, report: REPORT }
const make = (over: Partial<FleetSources> = {}) =>
  makeFleetRow({ device: DEVICE, enrollment: undefined, stored: undefined, isHubThere: true, ...over })

test('a device without reports is told by what its streams say', () => {
  const { state, connected, since, seen, revision, current, problems, version, namespace } = make()
  assert.deepEqual([state, connected, since, seen], ['gone', false, NOW_MS - 5_000, NOW_MS - 5_000])
  assert.deepEqual([revision, current, problems, version, namespace], ['v1', true, undefined, undefined, 'edge'])
  assert.deepEqual(
    [
      make({ device: { ...DEVICE, refused: 'c: bad' } }).current,
      make({ device: { ...DEVICE, refused: 'c: bad' } }).refused,
    ],
    [false, 1],
  )
})

test('where no hub runs nobody knows who is connected', () => {
  const { state, connected } = make({ isHubThere: false, device: { ...DEVICE, connectedMs: NOW_MS } })
  assert.deepEqual([state, connected], ['unknown', undefined])
})

test('a report says more, and counts as a sign of life', () => {
  const { seen, revision, current, restarts, rttMs, ready, requests } = make({ stored })
  assert.deepEqual(
    [seen, revision, current, restarts, rttMs, ready, requests],
    [NOW_MS - 1_000, REPORT.revision, true, 1, 48, true, 120_331],
  )
})

test('all is in force where both sides have the same hash, and nothing is refused', () => {
  assert.equal(make({ stored: { ...stored, expected: 'other' } }).current, false)
  const refused = [{ kind: 'cluster', name: 'c', reason: 'bad' }]
  const wrong = make({ stored: { ...stored, report: { ...REPORT, refused } } })
  assert.deepEqual([wrong.current, wrong.refused, wrong.refusal], [false, 1, 'cluster c: bad'])
  assert.equal(row().current, true)
})
